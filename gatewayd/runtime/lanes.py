"""Who runs next: one turn at a time per session, sessions side by side, the higher priority first, then first come.

Work of an entry point has no session: each of its executions is a lane of its own, and the entry point has a share,
which is a priority and a bound of its own. Everything else has priority 0 and no bound but that of all.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from gatewayd.core.errors import LimitExceeded
from gatewayd.core.value import value
from gatewayd.runtime.live import LiveExecution

MAX_CONCURRENT = 100
"""Executions that run at once in one gateway, unless `configure` says otherwise."""
MAX_QUEUED = 10_000
"""Executions that may wait; one more is refused before it is accepted."""
MAX_QUEUED_SHARE = 1000
"""Those of one entry point; so that none of them takes the room of all others."""


@value(frozen=True, slots=True)
class Share:
    """What one entry point may take."""

    priority: int = 0
    concurrent: int = MAX_CONCURRENT


_OTHERS = Share()


class _Lane:
    __slots__ = ("placeless", "priority", "running", "share", "waiting")

    def __init__(self, share: str, priority: int) -> None:
        self.share = share
        self.priority = priority
        self.running: LiveExecution | None = None
        self.waiting: deque[LiveExecution] = deque()
        self.placeless = 0
        """For how many things at once what runs waits that need no place."""


class Lanes:
    """The queue in front of the agents. `run` is called to start one; the caller says `finished` when it has ended."""

    def __init__(self, run: Callable[[LiveExecution], None], *, concurrent: int = MAX_CONCURRENT) -> None:
        self._run = run
        self._limit = concurrent
        self._shares: Mapping[str, Share] = {}
        self._lanes: dict[str, _Lane] = {}
        self._ready: dict[tuple[int, str], dict[str, int]] = {}
        """Lanes with something to start, by priority and entry point; each with its place in the order of coming."""
        self._came = 0
        self._running: Counter[str] = Counter()
        """By entry point; '' is everything else."""
        self._placeless = 0
        """Those of them that wait for somebody to come, and need no place of all."""
        self._waiting: Counter[str] = Counter()
        self._coming: Counter[str] = Counter()
        """Of what is on its way to the disk, and waits next."""
        self.closed = False
        """Whether nothing is begun any more, and what runs is cut off."""

    def configure(self, concurrent: int, shares: Mapping[str, Share]) -> None:
        """New bounds, from now on: nothing that runs is stopped, and what waits keeps the priority that it came with.

        An entry point that is gone keeps its share for as long as something of it waits.
        """
        self._limit = concurrent
        leaving = {name: share for name, share in self._shares.items() if self._waiting[name]}
        self._shares = leaving | dict(shares)
        self._advance()

    def check_room(self, share: str = "") -> None:
        """Raise `LimitExceeded` when one more could not wait; asked before a message is accepted."""
        if (queued := self.queued + self._coming.total()) >= MAX_QUEUED:
            raise LimitExceeded(
                f"{queued} executions wait already", metadata={"limit": "queued_executions"}, retry_after=5.0
            )
        if share and (queued := self._waiting[share] + self._coming[share]) >= MAX_QUEUED_SHARE:
            raise LimitExceeded(
                f"{queued} executions of entry point {share!r} wait already",
                metadata={"limit": "queued_executions", "entry_point": share},
                retry_after=5.0,
            )

    def reserve(self, share: str = "") -> Callable[[], None]:
        """`check_room`, and keep room for one more until what is returned is called: it waits now, or never will."""
        self.check_room(share)
        self._coming[share] += 1
        return lambda: self._less(self._coming, share)

    def submit(self, live: LiveExecution, share: str = "") -> None:
        """Queue behind the session's earlier executions; `share` is the entry point that it takes its place from."""
        key = _key(live)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(share, self._shares.get(share, _OTHERS).priority)
        lane.waiting.append(live)
        self._waiting[lane.share] += 1
        if lane.running is None and len(lane.waiting) == 1:
            self._make_ready(key, lane)
        self._advance()

    def finished(self, live: LiveExecution) -> None:
        """Its place is free."""
        key = _key(live)
        lane = self._lanes[key]
        lane.running = None
        self._placeless -= bool(lane.placeless)
        lane.placeless = 0
        self._less(self._running, lane.share)
        if lane.waiting:
            self._make_ready(key, lane)
        else:
            del self._lanes[key]
        self._advance()

    def need_place(self, live: LiveExecution | None, needs: bool) -> None:
        """One that runs begins (False) or ends to wait for something that may never come, and is worth no place.

        Said as often each way. Its session and its entry point count it all the same.
        """
        lane = self._lanes.get(_key(live)) if live is not None else None
        if lane is None or lane.running is not live:
            return
        before, lane.placeless = lane.placeless, max(0, lane.placeless + (-1 if needs else 1))
        self._placeless += bool(lane.placeless) - bool(before)
        self._advance()

    def withdraw(self, live: LiveExecution) -> bool:
        """Take back one that waits; False when it does not."""
        key = _key(live)
        lane = self._lanes.get(key)
        if lane is None or live not in lane.waiting:
            return False
        lane.waiting.remove(live)
        self._less(self._waiting, lane.share)
        if lane.running is None and not lane.waiting:
            del self._lanes[key]
            self._not_ready(key, lane)
        return True

    def take_steerable(self, session_id: str) -> list[LiveExecution]:
        """Take the messages at the head of a session's queue that its running turn may answer too."""
        lane = self._lanes.get(session_id)
        taken: list[LiveExecution] = []
        while lane is not None and lane.waiting and lane.waiting[0].steerable:
            taken.append(lane.waiting.popleft())
            self._less(self._waiting, lane.share)
        return taken

    def put_back(self, lives: Sequence[LiveExecution]) -> None:
        """Give back what `take_steerable` took from a turn that runs still: it is to be answered by itself."""
        for live in reversed(lives):
            lane = self._lanes[_key(live)]
            lane.waiting.appendleft(live)
            self._waiting[lane.share] += 1

    def running(self, session_id: str) -> LiveExecution | None:
        """The session's turn that runs now."""
        lane = self._lanes.get(session_id)
        return lane.running if lane is not None else None

    def waiting(self, session_id: str) -> int:
        """How many of the session's executions wait for their turn."""
        lane = self._lanes.get(session_id)
        return len(lane.waiting) if lane is not None else 0

    def waits_for(self, live: LiveExecution) -> str:
        """Why one that is queued does not run yet, or what one that runs waits for; '' when that is not known here."""
        lane = self._lanes.get(_key(live))
        if lane is None:
            return ""
        if lane.running is live:
            return "waits for a worker of its agent to come" if lane.placeless else ""
        if live not in lane.waiting:
            return f"is answered within execution {lane.running.execution.id}" if lane.running is not None else ""
        before = lane.running or lane.waiting[0]
        if before is not live:
            return f"waits for its turn in the session: execution {before.execution.id} is before it"
        taken = self._running[lane.share]
        if lane.share and taken >= self._shares.get(lane.share, _OTHERS).concurrent:
            return f"waits for a place: {taken} of {lane.share} run, as many as its max_concurrent allows"
        if not self.free:
            return f"waits for a place: {self._limit} run, as many as runtime.max_concurrent_executions allows"
        return ""

    def is_busy(self, session_id: str) -> bool:
        """Whether something of the session is queued or runs, its end being written included."""
        return session_id in self._lanes

    def close(self) -> None:
        """Start nothing more; what waits stays in the store and is taken up at the next start."""
        self.closed = True

    @property
    def queued(self) -> int:
        return self._waiting.total()

    @property
    def limit(self) -> int:
        """Executions that may run at once."""
        return self._limit

    @property
    def free(self) -> int:
        """Executions that could start at once."""
        return max(0, self._limit - self._running.total() + self._placeless)

    @property
    def busy(self) -> int:
        """Sessions with something queued or running."""
        return sum(not lane.share for lane in self._lanes.values())

    def _advance(self) -> None:
        while not self.closed and self.free and (found := self._next()):
            key, lane = found
            self._not_ready(key, lane)
            live = lane.waiting.popleft()
            lane.running = live
            self._less(self._waiting, lane.share)
            self._running[lane.share] += 1
            self._run(live)

    def _next(self) -> tuple[str, _Lane] | None:
        """The lane that may start: the first to come of those with the highest priority whose share has room."""
        best: tuple[int, int] | None = None
        chosen = ""
        for (priority, share), keys in self._ready.items():
            if share and self._running[share] >= self._shares.get(share, _OTHERS).concurrent:
                continue
            key, place = next(iter(keys.items()))
            if best is None or (-priority, place) < best:
                best, chosen = (-priority, place), key
        return (chosen, self._lanes[chosen]) if best is not None else None

    def _make_ready(self, key: str, lane: _Lane) -> None:
        self._came += 1
        self._ready.setdefault((lane.priority, lane.share), {})[key] = self._came

    def _not_ready(self, key: str, lane: _Lane) -> None:
        keys = self._ready.get((lane.priority, lane.share), {})
        keys.pop(key, None)
        if not keys:
            self._ready.pop((lane.priority, lane.share), None)

    @staticmethod
    def _less(counter: "Counter[str]", share: str) -> None:
        counter[share] -= 1
        if not counter[share]:
            del counter[share]


def _key(live: LiveExecution) -> str:
    return live.execution.session_id or live.execution.id
