"""Ids that were taken in before, as the transaction of a group sees them.

Nearly every id that comes is new, and most are greater than all earlier ones of their scope, as ids are that begin with
the time of their making. Of these the table need not be asked: the writer alone adds to it, and knows how far it goes.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gatewayd.storage.sqlite.live import CHUNKS, Execute
from gatewayd.storage.sqlite.seal import damaged, seal_seen

Key = tuple[str, str]
"""The scope of an id, and the id."""
Seen = tuple[bytes, str]
"""What is known of an id that was seen: the digest of its content, and what became of it."""

SCOPES = 4096
"""Scopes whose greatest id is kept in memory from group to group; one more forgets all."""
_NOWHERE = ("", "")


class SeenIds:
    """The writer keeps it from group to group."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        """Gathered for the table, to be written with the group's other rows."""
        self._execute: Execute | None = None
        self._count: Callable[[str, int, int], None] | None = None
        self._known: dict[Key, Seen | None] = {}
        self._greatest: dict[str, str] = {}
        """By scope. Ids that are rolled back or swept leave it too high, which costs a question and no answer."""

    def begin(self, execute: Execute, count: Callable[[str, int, int], None]) -> None:
        """A transaction begins; what is added is counted there."""
        self._execute, self._count = execute, count
        self.rows.clear()
        self._known.clear()
        if len(self._greatest) > SCOPES:  # not while rows are gathered, which the table does not tell of
            self._greatest.clear()

    def load(self, keys: Iterable[Key]) -> None:
        """Look these up at once, before the units ask for them one by one."""
        known, greatest = self._known, self._greatest
        asked = []
        for key in keys:
            if key not in known:
                known[key] = None
                scope, id_ = key
                if scope not in greatest:
                    greatest[scope] = self._find_greatest(scope)
                if id_ <= greatest[scope]:
                    asked.append(key)
        for start in range(0, len(asked), CHUNKS[0]):
            self._ask(asked[start : start + CHUNKS[0]])

    def get(self, key: Key) -> Seen | None:
        """What became of an id; None when it is new."""
        if key not in self._known:
            self.load((key,))
        return self._known[key]

    def any(self, keys: Sequence[Key]) -> bool:
        """Whether one of these is not new."""
        self.load(keys)
        return any(map(self._known.__getitem__, keys))

    def add(self, keys: Sequence[Key], digests: Iterable[bytes], refs: Iterable[str], time: float) -> None:
        """Remember ids of one scope that were asked for and are new; `time` is when they were taken in."""
        time_text, size = str(time), 0
        for key, digest, ref in zip(keys, digests, refs, strict=True):
            scope, id_ = key
            self._known[key] = (digest, ref)
            self.rows.append((scope, id_, digest, ref, time, seal_seen(scope, id_, digest, ref, time_text)))
            size += len(id_) + len(ref)
        scope, last = max(keys)
        self._greatest[scope] = max(last, self._greatest[scope])
        assert self._count is not None
        self._count("seen", len(keys), size)

    def undo(self, kept: int) -> None:
        """Forget the gathered rows behind the first `kept`."""
        for scope, id_, *_ in self.rows[kept:]:
            self._known[scope, id_] = None
        del self.rows[kept:]

    def forget(self) -> None:
        """Ask the table again for every id."""
        self._known.clear()

    def _find_greatest(self, scope: str) -> str:
        assert self._execute is not None
        found: str = self._execute("SELECT coalesce(max(id), '') FROM seen WHERE scope = ?", (scope,)).fetchone()[0]
        return found

    def _ask(self, keys: Sequence[Key]) -> None:
        assert self._execute is not None
        size = next(size for size in reversed(CHUNKS) if size >= len(keys))
        flat = [part for key in keys for part in key] + [*_NOWHERE] * (size - len(keys))
        for scope, id_, digest, ref, time, crc in self._execute(_SQL[size], flat):
            if seal_seen(scope, id_, digest, ref, time) != crc:
                raise damaged(f"the seen id {id_!r}")
            self._known[scope, id_] = (digest, ref)


_SQL = {
    size: f"WITH k (s, i) AS (VALUES {', '.join(['(?, ?)'] * size)}) "
    "SELECT seen.scope, seen.id, digest, ref, time, crc FROM k CROSS JOIN seen ON seen.scope = k.s AND seen.id = k.i"
    for size in CHUNKS
}
