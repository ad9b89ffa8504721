"""Ids that were taken in before, as the transaction of a group sees them.

Nearly every id that comes is new, and most are greater than all earlier ones of their scope, as ids are that begin with
the time of their making. Of these the table need not be asked: the writer alone adds to it, and knows how far it goes.

What is remembered is a row for each batch of ids, and for each id a small one that says in which batch it is.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from gatewayd.storage.sqlite.live import CHUNKS, Execute
from gatewayd.storage.sqlite.seal import damaged, seal_batch

Key = tuple[str, str]
"""The scope of an id, and the id."""
Seen = tuple[bytes, str]
"""What is known of an id that was seen: the digest of its content, and what became of it."""

TOGETHER = 256
"""Ids of one scope in a batch of what several units have brought: whoever asks for one of them reads all."""
SCOPES = 4096
"""Scopes whose greatest id is kept in memory from group to group; one more forgets all."""
_NOWHERE = ("", "")
_FIND = {
    size: f"WITH k (s, i) AS (VALUES {', '.join(['(?, ?)'] * size)}) "
    "SELECT seen.scope, seen.id, batch FROM k CROSS JOIN seen ON seen.scope = k.s AND seen.id = k.i"
    for size in CHUNKS
}


class Batch(NamedTuple):
    """A row of `seen_batches`: ids of one scope that were taken in together."""

    number: int
    scope: str
    ids: list[str]
    digests: bytes
    refs: list[str]
    time: float

    @classmethod
    def read(cls, row: Sequence[Any]) -> "Batch":
        """From the columns of the table, the seal checked."""
        number, scope, ids, digests, refs, time, crc = row
        if seal_batch(scope, ids, digests, refs, time) != crc:
            raise damaged(f"the batch {number} of seen ids")
        return cls(number, scope, json.loads(ids), digests, json.loads(refs), time)

    def row(self) -> tuple[Any, ...]:
        """The columns of the table."""
        ids, refs = json.dumps(self.ids), json.dumps(self.refs)
        crc = seal_batch(self.scope, ids, self.digests, refs, self.time)
        return (self.number, self.scope, ids, self.digests, refs, self.time, crc)

    @classmethod
    def joined(cls, batches: "Sequence[Batch]") -> "Batch":
        """These of one scope as one, which is as young as the youngest of them."""
        if len(batches) == 1:
            return batches[0]
        ids = [id_ for batch in batches for id_ in batch.ids]
        refs = [ref for batch in batches for ref in batch.refs]
        digests = b"".join([batch.digests for batch in batches])
        return cls(batches[0].number, batches[0].scope, ids, digests, refs, max(batch.time for batch in batches))

    def without(self, count: int) -> "Batch":
        """What is left of it when its first ids are forgotten."""
        cut = len(self.digests) // len(self.ids) * count
        return self._replace(ids=self.ids[count:], digests=self.digests[cut:], refs=self.refs[count:])

    def each(self) -> Iterable[tuple[Key, Seen]]:
        """Its ids, and what is known of each."""
        length = len(self.digests) // len(self.ids)
        for place, (id_, ref) in enumerate(zip(self.ids, self.refs, strict=True)):
            yield (self.scope, id_), (self.digests[place * length : (place + 1) * length], ref)


class SeenIds:
    """The writer keeps it from group to group."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.ids: list[tuple[str, str, int]] = []
        """What was gathered for the tables, to be written with the group's others: batches, of which `pack` makes rows,
        and rows."""
        self._execute: Execute | None = None
        self._count: Callable[[str, int, int], None] | None = None
        self._known: dict[Key, Seen | None] = {}
        self._greatest: dict[str, str] = {}
        """By scope. Ids that are rolled back or swept leave it too high, which costs a question and no answer."""
        self._last = 0
        """The number of the newest batch; 0 before it was asked for."""

    def begin(self, execute: Execute, count: Callable[[str, int, int], None]) -> None:
        """A transaction begins; what is added is counted there."""
        self._execute, self._count = execute, count
        self.batches.clear()
        self.ids.clear()
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
                    greatest[scope] = self._ask("SELECT coalesce(max(id), '') FROM seen WHERE scope = ?", scope)
                if id_ <= greatest[scope]:
                    asked.append(key)
        if asked:
            self._find(asked)

    def get(self, key: Key) -> Seen | None:
        """What became of an id; None when it is new."""
        if key not in self._known:
            self.load((key,))
        return self._known[key]

    def any(self, keys: Sequence[Key]) -> bool:
        """Whether one of these is not new."""
        self.load(keys)
        return any(map(self._known.__getitem__, keys))

    def add(self, keys: Sequence[Key], digests: Sequence[bytes], refs: Sequence[str], time: float) -> None:
        """Remember ids of one scope that were asked for and are new; `time` is when they were taken in."""
        if len(set(map(len, digests))) > 1:
            for key, digest, ref in zip(keys, digests, refs, strict=True):
                self.add((key,), (digest,), (ref,), time)
            return
        number = self._last or self._ask("SELECT coalesce(max(number), 0) FROM seen_batches")
        self._last = number = number + 1
        scope, ids = keys[0][0], [id_ for _, id_ in keys]
        self._greatest[scope] = max(self._greatest[scope], *ids)
        self.batches.append(Batch(number, scope, ids, b"".join(digests), list(refs), time))
        self.ids.extend([(scope, id_, number) for id_ in ids])
        self._known.update(zip(keys, zip(digests, refs, strict=True), strict=True))
        assert self._count is not None
        self._count("seen", len(ids), sum(map(len, ids)) + sum(map(len, refs)))

    def pack(self) -> None:
        """Make rows of what was gathered, right before it is written: few batches, which cost more than their ids."""
        joined: list[list[Batch]] = []
        last: dict[tuple[str, int], list[Batch]] = {}
        room: dict[tuple[str, int], int] = {}
        number_of: dict[int, int] = {}
        for batch in self.batches:
            key = (batch.scope, len(batch.digests) // len(batch.ids))
            room[key] = room.get(key, 0) - len(batch.ids)
            if room[key] < 0:
                last[key], room[key] = [], TOGETHER - len(batch.ids)
                joined.append(last[key])
            last[key].append(batch)
            number_of[batch.number] = last[key][0].number
        self.batches[:] = [Batch.joined(batches).row() for batches in joined]
        self.ids[:] = [(scope, id_, number_of[number]) for scope, id_, number in self.ids]

    def undo(self, kept: int) -> None:
        """The ids that were gathered behind the first so many are new again."""
        for scope, id_, _ in self.ids[kept:]:
            self._known[scope, id_] = None

    def forget(self) -> None:
        """Ask the tables again for every id."""
        self._known.clear()

    def _find(self, keys: Sequence[Key]) -> None:
        assert self._execute is not None
        found: dict[Key, int] = {}
        for start in range(0, len(keys), CHUNKS[0]):
            chunk = keys[start : start + CHUNKS[0]]
            size = next(size for size in reversed(CHUNKS) if size >= len(chunk))
            flat = [part for key in chunk for part in key] + [*_NOWHERE] * (size - len(chunk))
            found.update(((scope, id_), number) for scope, id_, number in self._execute(_FIND[size], flat))
        for number in dict.fromkeys(found.values()):
            row = self._execute("SELECT * FROM seen_batches WHERE number = ?", (number,)).fetchone()
            if row is not None:
                self._known.update((key, seen) for key, seen in Batch.read(row).each() if key in found)
        for key in found:
            if self._known[key] is None:
                raise damaged(f"the seen id {key[1]!r}")

    def _ask(self, sql: str, *values: str) -> Any:
        assert self._execute is not None
        return self._execute(sql, values).fetchone()[0]
