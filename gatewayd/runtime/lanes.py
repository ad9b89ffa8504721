"""Who runs next: one turn at a time per session, sessions side by side up to a limit, first come first served."""

from collections import deque
from collections.abc import Callable

from gatewayd.core.errors import LimitExceeded
from gatewayd.runtime.live import LiveExecution

MAX_CONCURRENT = 100
"""Executions that run at once in one gateway."""
MAX_QUEUED = 10_000
"""Executions that may wait; one more is refused before it is accepted."""


class _Lane:
    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running: LiveExecution | None = None
        self.waiting: deque[LiveExecution] = deque()


class Lanes:
    """The queue in front of the agents. `run` is called to start one; the caller says `finished` when it has ended."""

    def __init__(self, run: Callable[[LiveExecution], None], *, concurrent: int = MAX_CONCURRENT) -> None:
        self._run = run
        self._free = concurrent
        self._lanes: dict[str, _Lane] = {}
        self._ready: dict[str, None] = {}
        """Sessions with something to start, in the order in which they came."""
        self._queued = 0
        self._closed = False

    def check_room(self) -> None:
        """Raise `LimitExceeded` when one more could not wait; asked before a message is accepted."""
        if self._queued >= MAX_QUEUED:
            raise LimitExceeded(
                f"{self._queued} executions wait already", metadata={"limit": "queued_executions"}, retry_after=5.0
            )

    def submit(self, live: LiveExecution) -> None:
        """Queue behind the session's earlier executions."""
        session = live.execution.session_id
        lane = self._lanes.get(session)
        if lane is None:
            lane = self._lanes[session] = _Lane()
        lane.waiting.append(live)
        self._queued += 1
        if lane.running is None and len(lane.waiting) == 1:
            self._ready[session] = None
        self._advance()

    def finished(self, live: LiveExecution) -> None:
        """Its place is free."""
        session = live.execution.session_id
        lane = self._lanes[session]
        lane.running = None
        self._free += 1
        if lane.waiting:
            self._ready[session] = None
        else:
            del self._lanes[session]
        self._advance()

    def withdraw(self, live: LiveExecution) -> bool:
        """Take back one that waits; False when it does not."""
        lane = self._lanes.get(live.execution.session_id)
        if lane is None or live not in lane.waiting:
            return False
        lane.waiting.remove(live)
        self._queued -= 1
        self._forget_if_empty(live.execution.session_id, lane)
        return True

    def take_steerable(self, session_id: str) -> list[LiveExecution]:
        """Take the messages at the head of a session's queue that its running turn may answer too."""
        lane = self._lanes.get(session_id)
        taken: list[LiveExecution] = []
        while lane is not None and lane.waiting and lane.waiting[0].steerable:
            taken.append(lane.waiting.popleft())
            self._queued -= 1
        return taken

    def running(self, session_id: str) -> LiveExecution | None:
        """The session's turn that runs now."""
        lane = self._lanes.get(session_id)
        return lane.running if lane is not None else None

    def waiting(self, session_id: str) -> int:
        """How many of the session's executions wait for their turn."""
        lane = self._lanes.get(session_id)
        return len(lane.waiting) if lane is not None else 0

    def is_busy(self, session_id: str) -> bool:
        """Whether something of the session is queued or runs, its end being written included."""
        return session_id in self._lanes

    def close(self) -> None:
        """Start nothing more; what waits stays in the store and is taken up at the next start."""
        self._closed = True

    @property
    def queued(self) -> int:
        return self._queued

    @property
    def busy(self) -> int:
        """Sessions with something queued or running."""
        return len(self._lanes)

    def _advance(self) -> None:
        while self._free > 0 and self._ready and not self._closed:
            session = next(iter(self._ready))
            del self._ready[session]
            lane = self._lanes.get(session)
            if lane is None or lane.running is not None or not lane.waiting:
                continue
            live = lane.waiting.popleft()
            lane.running = live
            self._queued -= 1
            self._free -= 1
            self._run(live)

    def _forget_if_empty(self, session: str, lane: _Lane) -> None:
        if lane.running is None and not lane.waiting:
            del self._lanes[session]
            self._ready.pop(session, None)
