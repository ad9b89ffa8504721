"""A call, a worker, and the workers of one agent: what `workers.py` moves."""

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from gatewayd.agents.base import MAX_ANSWER, Turn
from gatewayd.agents.keeping import Kept, Mark, not_open, put_down, still_open
from gatewayd.agents.messages import Sends
from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError, InvalidArgument, LimitExceeded, Unavailable, Violation
from gatewayd.core.workers import Call, CallReply, LeaveRequest, RegisterAgent, Said, WorkerFrame

DEFAULT_CONCURRENT = 16
"""Calls that a worker has at a time if it does not say."""
MAX_CONCURRENT = 1000
MAX_HISTORY = 256 * 1024
"""Bytes of the conversation that a call brings, the newest messages."""

ClientKey = tuple[str, str]
"""Principal and client id."""
Tell = Callable[[WorkerFrame], None]
"""Puts a frame on its way to a worker; must not block or raise."""


class OpenCall:
    """One turn that workers are to answer, until it has ended."""

    __slots__ = (
        "asking",
        "context",
        "deadline",
        "error",
        "execution_id",
        "final",
        "id",
        "kept",
        "length",
        "news",
        "over",
        "pieces",
        "pool",
        "since",
        "size",
        "trace",
        "turn",
        "worker",
    )

    def __init__(
        self,
        call_id: str,
        pool: "Pool",
        turn: Turn,
        execution_id: str,
        *,
        since: float,
        limit: float,
        trace: str = "",
        kept: Kept | None = None,
    ) -> None:
        self.id = call_id
        self.pool = pool
        self.turn = turn
        self.execution_id = execution_id
        self.trace = trace
        """The traceparent of whatever its answer causes."""
        self.context: Sends | None = None
        """With which whoever answers may speak to other agents."""
        self.asking: set[asyncio.Task[object]] = set()
        """Those that wait for another agent on its behalf: cancelled when it is over."""
        self.over = False
        self.since = since
        """When it began to wait for a worker; this and `deadline` by the monotonic clock."""
        self.deadline = since + limit
        self.worker: Worker | None = None
        self.kept = kept
        """What it goes on from; None where it begins."""
        self.pieces: deque[str | Mark] = deque()
        """Of the answer, with what was put down in between."""
        self.length = 0
        """Characters that have arrived; `size` is their bytes."""
        self.size = 0
        self.final = False
        self.error: Exception | None = None
        self.news = asyncio.Event()

    def close(self) -> None:
        """It is with nobody any more."""
        self.over = True
        if self.kept is not None and self.kept.mark is not None:
            self.kept.mark.fail(not_open(self.id))
        for task in self.asking:
            task.cancel()

    def add(self, reply: CallReply) -> None:
        """Take text of the answer, as far as it is new.

        `InvalidArgument` if something before it is missing, or while something that was put down is not carried out;
        `LimitExceeded` when the answer is too long.
        """
        before = self.length if reply.offset is None else reply.offset
        if before > self.length:
            what = f"is {before}, but only {self.length} characters have arrived"
            raise InvalidArgument(f"call_reply.offset: {what}", violations=(Violation("call_reply.offset", what),))
        new = reply.content[self.length - before :]
        if (new or reply.final or reply.error) and self.kept is not None and self.kept.is_open:
            raise still_open(self.id)
        size = self.size + len(new.encode())
        if size > MAX_ANSWER:
            raise LimitExceeded(f"an answer has at most {MAX_ANSWER} bytes", metadata={"limit": "answer"})
        if new:
            self.pieces.append(new)
            self.length, self.size = self.length + len(new), size
            self.news.set()

    def keep(self, frame: LeaveRequest, tell: Tell) -> asyncio.Future[bool]:
        """Take what it is to go on from; done when that is carried out. Raises what refuses it."""
        kept = put_down(frame, tell, self.kept, call_id=self.id, text=self.turn.text, length=self.length)
        assert kept.mark is not None, "it was put down"
        if kept is not self.kept:
            self.kept = kept
            self.pieces.append(kept.mark)
            self.news.set()
        return kept.mark.done

    @property
    def left_over(self) -> object:
        """The connection over which somebody hears that its execution has left with it; None if it has not."""
        mark = self.kept.mark if self.kept is not None else None
        return mark.connection if mark is not None and mark.left else None

    @property
    def may_move(self) -> bool:
        """Whether another worker can go on with it: nothing was said, or nothing behind what was put down last."""
        kept = self.kept.valid if self.kept is not None else None
        return self.length == (kept.length if kept is not None else 0)

    async def until_news(self, patience: float | None, clock: Clock) -> None:
        """Wait for news, at most `patience` seconds (`TimeoutError`); None is for as long as it takes."""
        if patience is None:  # as for nearly all; a timer costs more than the rest
            await self.news.wait()
            return
        async with clock.timeout(patience):
            await self.news.wait()

    @property
    def is_message(self) -> bool:
        """Whether another agent asks: it is told at once when nobody is there any more."""
        return bool(self.turn.sender or self.turn.topic)

    def patience(self, reconnect_timeout: float, now: float) -> float | None:
        """Seconds that it still waits for anybody to come, at the time `now`; None while somebody is there."""
        if self.worker is not None or self.pool.present:
            return None
        since = max(self.since, self.pool.absent_since or self.since)
        return max(0.0, since + reconnect_timeout - now)


class Worker:
    """One client that serves one agent."""

    __slots__ = ("calls", "history", "key", "losses", "most", "notify_end", "pool", "resigned", "tell", "topics")

    def __init__(self, key: ClientKey, pool: "Pool") -> None:
        self.key = key
        self.pool = pool
        self.tell: Tell | None = None
        """None while it is cut off."""
        self.most = DEFAULT_CONCURRENT
        self.history = False
        self.topics: Sequence[str] = ()
        self.notify_end = False
        self.resigned = False
        """Whether it takes no more calls, and only ends those that it has."""
        self.losses = 0
        self.calls: dict[str, OpenCall] = {}

    def serve(self, tell: Tell, asked: RegisterAgent) -> None:
        """Be there, over that connection and as it asks."""
        self.tell, self.resigned, self.notify_end = tell, False, asked.notify_end
        self.most, self.history = asked.max_concurrent or DEFAULT_CONCURRENT, asked.history
        self.topics = asked.topics

    @property
    def is_there(self) -> bool:
        return self.tell is not None and not self.resigned


class Pool:
    """The workers of one agent, and the calls that none of them has taken."""

    __slots__ = ("absent_since", "agent", "waiting", "workers")

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self.workers: dict[ClientKey, Worker] = {}
        self.waiting: OrderedDict[str, OpenCall] = OrderedDict()
        self.absent_since: float | None = None
        """When the last worker went, by the monotonic clock; None while one is there, or none has ever been."""

    @property
    def present(self) -> int:
        """How many take calls now."""
        return sum(1 for worker in self.workers.values() if worker.is_there)

    def look(self, now: float) -> None:
        """Somebody came or went: note it, and let those think again who wait."""
        if self.present:
            self.absent_since = None
        elif self.absent_since is None:
            self.absent_since = now
        for call in self.waiting.values():
            call.news.set()

    def first(self) -> OpenCall | None:
        """Of those that wait the next one; what a worker that is gone has put down of it is carried out first."""
        return next((call for call in self.waiting.values() if call.kept is None or not call.kept.is_open), None)

    def take_back(self, call: OpenCall) -> None:
        """It waits again, before all others."""
        if call.worker is not None:
            del call.worker.calls[call.id]
        call.worker = None
        self.waiting[call.id] = call
        self.waiting.move_to_end(call.id, last=False)

    def chosen(self, name: str) -> Worker | None:
        """Of the workers with room the first in the ranking for a session, or for an execution without one."""
        free = [worker for worker in self.workers.values() if worker.is_there and len(worker.calls) < worker.most]
        if len(free) < 2:
            return free[0] if free else None
        return max(free, key=lambda worker: rank(name, worker.key))


def frame_of(call: OpenCall, worker: Worker, now: float, *, redelivered: bool = False) -> Call:
    """What the worker is told of a call; `now` by the monotonic clock."""
    turn, kept = call.turn, call.kept.valid if call.kept is not None else None
    return Call(
        call_id=call.id,
        agent=call.pool.agent,
        execution_id=call.execution_id,
        session_id=turn.session_id,
        text=turn.text,
        principal=turn.principal,
        channel=turn.channel,
        timeout=max(0.001, call.deadline - now),
        history=_newest(turn) if worker.history else (),
        redelivered=redelivered,
        offset=call.length,
        topic=turn.topic,
        sender=turn.sender,
        data_type=turn.data_type,
        traceparent=call.trace,
        state=kept.state if kept is not None else "",
        inputs=kept.inputs if kept is not None else {},
    )


def rank(name: str, key: ClientKey) -> bytes:
    return hashlib.blake2b("\0".join((name, *key)).encode(), digest_size=8).digest()


def _newest(turn: Turn) -> tuple[Said, ...]:
    """The end of the conversation, within the bounds of a call."""
    taken: list[Said] = []
    room = MAX_HISTORY
    for entry in reversed(turn.history):
        room -= len(entry.content.encode(errors="replace"))
        if room < 0:
            break
        taken.append(Said(entry.role, entry.content, entry.time))
    return tuple(reversed(taken))


class NobodyThere(Unavailable):
    """No worker of the agent is there."""


def absent(agent: str) -> GatewayError:
    """Nobody is there who answers for it."""
    what = f"The agent {agent} is not available right now. Please try again later."
    return NobodyThere(what, metadata={"agent": agent}, retry_after=5.0)


def cut_off(agent: str) -> GatewayError:
    """Who answered for it is gone."""
    return Unavailable(f"The agent {agent} was cut off before its answer was complete. Please try again.")
