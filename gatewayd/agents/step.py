"""What one call of a model adds up to."""

from typing import Final

from gatewayd.providers.base import Delta, Finished, FinishReason, Text, ToolCall, ToolCallPiece, Usage

MAX_CALLS: Final = 64
"""Tool calls of one step that are kept at all; pieces of further ones are dropped."""


class _Growing:
    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


class Step:
    """Collects the deltas of one step. `number` counts the steps of a turn from 1."""

    def __init__(self, number: int) -> None:
        self.finish: FinishReason | None = None
        self.usage = Usage()
        self._number = number
        self._text: list[str] = []
        self._calls: dict[int, _Growing] = {}

    def add(self, delta: Delta) -> None:
        """Take in one delta."""
        match delta:
            case Text(content):
                self._text.append(content)
            case ToolCallPiece():
                self._grow(delta)
            case Finished(reason, usage):
                self.finish, self.usage = reason, usage
            case _:
                pass

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def has_pieces(self) -> bool:
        """Whether it began to call a tool."""
        return bool(self._calls)

    def calls(self) -> list[ToolCall]:
        """The whole calls; to be asked for only when the step has finished with them. Their ids are distinct."""
        taken: set[str] = set()
        whole = []
        for index, growing in sorted(self._calls.items()):
            own = growing.id
            if not own or own in taken:
                own = f"call-{self._number}-{index}"
            taken.add(own)
            whole.append(ToolCall(own, growing.name, "".join(growing.arguments)))
        return whole

    def _grow(self, piece: ToolCallPiece) -> None:
        if piece.index not in self._calls:
            if len(self._calls) >= MAX_CALLS:
                return
            self._calls[piece.index] = _Growing()
        growing = self._calls[piece.index]
        growing.id = growing.id or piece.id
        growing.name = growing.name or piece.name
        growing.arguments.append(piece.arguments)
