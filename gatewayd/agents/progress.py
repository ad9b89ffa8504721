"""How far the turn of a model's agent has come: what its checkpoints hold, and what it goes on from."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gatewayd.agents.base import AgentFailed
from gatewayd.providers.base import ChatMessage, Role, ToolCall


class Progress:
    """The steps so far, without what opens every prompt of the turn, and without what was steered into it."""

    def __init__(self) -> None:
        self.step = 0
        """The last step that the model has finished, counted from 1."""
        self.said: Counter[tuple[str, str]] = Counter()
        """Calls so far, by tool and arguments."""
        self.has_text = False
        """Whether a step before put out text."""
        self.messages: list[ChatMessage] = []
        self._calls: Sequence[ToolCall] = ()
        self._answered = 0

    @classmethod
    def of(cls, resumed: Mapping[str, Any] | None) -> "Progress":
        """What a checkpoint holds; the beginning where there is none, or only what was known before it."""
        self = cls()
        if resumed is None or "memory" in resumed:
            return self
        try:
            self.step, self.has_text = int(resumed["step"]), bool(resumed["has_text"])
            self.messages = [_message_of(one) for one in resumed["messages"]]
            self._calls = [ToolCall(*map(str, call)) for call in resumed["calls"]]
            self._answered = int(resumed["answered"])
            self.said.update({(str(name), str(arguments)): int(count) for name, arguments, count in resumed["said"]})
        except (KeyError, TypeError, ValueError) as error:
            raise AgentFailed(
                "This was begun by another kind of agent, and cannot go on.", cause=f"no state of a model: {error!r}"
            ) from error
        return self

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "step": self.step,
            "has_text": self.has_text,
            "messages": [_kept(message) for message in self.messages],
            "calls": [_call(call) for call in self._calls],
            "answered": self._answered,
            "said": [[name, arguments, count] for (name, arguments), count in self.said.items()],
        }

    def asks(self, message: ChatMessage, calls: Sequence[ToolCall], *, has_text: bool) -> None:
        """The model has finished a step by asking for these calls."""
        self.messages.append(message)
        self._calls, self._answered = calls, 0
        self.has_text = self.has_text or has_text

    def answers(self, message: ChatMessage) -> None:
        """The first open call has its result."""
        self.messages.append(message)
        self._answered += 1

    def open_calls(self) -> Iterator[tuple[int, ToolCall]]:
        """The calls of the last step without a result, each with its place in the step."""
        return iter(list(enumerate(self._calls))[self._answered :])


def _kept(message: ChatMessage) -> list[Any]:
    return [str(message.role), message.content, [_call(call) for call in message.tool_calls], message.tool_call_id]


def _message_of(kept: Sequence[Any]) -> ChatMessage:
    role, content, calls, tool_call_id = kept
    return ChatMessage(Role(role), content, tuple(ToolCall(*map(str, call)) for call in calls), tool_call_id)


def _call(call: ToolCall) -> list[str]:
    return [call.id, call.name, call.arguments]
