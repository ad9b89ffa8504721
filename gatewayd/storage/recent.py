"""Histories in memory: the newest lines of the sessions that spoke last, within the bounds of the configuration."""

from collections import OrderedDict
from collections.abc import Sequence

from gatewayd.core.value import record
from gatewayd.storage.records import HistoryEntry

CACHED_HISTORIES = 1_000
"""Sessions whose history is kept in memory. With `persist: false` that is all there is of it."""


@record(slots=True)
class _Recent:
    """A history in memory, and its size in bytes, so that adding a turn costs the same in a long one."""

    entries: list[HistoryEntry]
    size: int

    def extend(self, turn: Sequence[HistoryEntry], *, max_messages: int, max_bytes: int) -> None:
        self.entries.extend(turn)
        self.size += sum(map(_size, turn))
        while self.entries and (self.size > max_bytes or (max_messages and len(self.entries) > max_messages)):
            self.size -= _size(self.entries.pop(0))


class RecentHistories:
    """By session id; of more than `CACHED_HISTORIES` sessions the one that was read longest ago goes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Recent] = OrderedDict()

    def get(self, session_id: str) -> tuple[HistoryEntry, ...] | None:
        """Oldest first; None when it is not kept here."""
        known = self._kept.get(session_id)
        return tuple(known.entries) if known is not None else None

    def keep(self, session_id: str, history: Sequence[HistoryEntry]) -> None:
        """From now on, beginning with that."""
        self._kept[session_id] = _Recent(list(history), sum(map(_size, history)))
        self._kept.move_to_end(session_id)
        while len(self._kept) > CACHED_HISTORIES:
            self._kept.popitem(last=False)

    def extend(self, session_id: str, turn: Sequence[HistoryEntry], *, max_messages: int, max_bytes: int) -> None:
        """Add to a history that is kept; the oldest lines beyond the bounds go."""
        known = self._kept.get(session_id)
        if known is not None:
            known.extend(turn, max_messages=max_messages, max_bytes=max_bytes)

    def forget(self, session_id: str) -> None:
        """Harmless when it is not kept."""
        self._kept.pop(session_id, None)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._kept


def _size(entry: HistoryEntry) -> int:
    return len(entry.content.encode())
