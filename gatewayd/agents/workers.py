"""Programs that answer for agents over their connections, and the calls that are with them.

A worker is one client (principal and client id) for one agent. Free of any transport: a worker is told of calls by a
callable, and answers by `reply`.

**Who gets a call.** The workers of an agent are ranked for each session by a hash of both, and the first that is there
and has room gets it; so a session stays with its worker while that one is there and has room, and a worker that comes
or goes moves its share only. A call without a session is ranked by its execution. Without room calls wait in order;
without anybody for `reconnect_timeout` seconds.

**Who is lost.** A worker that is cut off keeps its calls for `reconnect_timeout`. One that resumes and registers again
is told of them again, with the number of characters that have arrived, and goes on there; else they fail. One that says
goodbye, or comes back as a new process, has let go of them: what nothing was said on yet goes to another, the rest
fails. A call with a checkpoint goes to another in each of these cases, if nothing was said behind that.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from gatewayd.agents.absence import Absence
from gatewayd.agents.base import AgentFailed, Turn
from gatewayd.agents.calls import ClientKey, OpenCall, Pool, Tell, Worker, absent, cut_off, frame_of
from gatewayd.agents.keeping import Kept, Mark, not_open
from gatewayd.agents.parting import Parting
from gatewayd.agents.workforce import Workforce
from gatewayd.core.clock import Clock
from gatewayd.core.errors import LimitExceeded
from gatewayd.core.ids import IdSource
from gatewayd.core.workers import CallReply, CancelCall, LeaveRequest, RegisterAgent
from gatewayd.service import TaskSet

log = logging.getLogger("gatewayd.agents")


class Workers(Workforce):
    """One per gateway. See the module's docstring."""

    def __init__(self, clock: Clock, ids: IdSource) -> None:
        super().__init__()
        self.reconnect_timeout = 60.0
        """Seconds; set at every reload."""
        self.on_topics: Callable[[str], None] = lambda _agent: None
        """Told of an agent whose workers may have come to name other topics."""
        self.absence = Absence()
        self._clock = clock
        self._ids = ids
        self.parting = Parting(self._pools, self._resign)
        self._tasks = TaskSet("workers")
        self._closed = False

    async def close(self) -> None:
        """Wait for nobody any more."""
        self._closed = True
        await self._tasks.close()

    # Asking

    def ask(
        self, agent: str, turn: Turn, execution_id: str, limit: float, *, trace: str = "", kept: Kept | None = None
    ) -> OpenCall:
        """Have a turn answered within `limit` seconds; whoever asks calls `end`, whatever comes of it."""
        pool, now = self._pool(agent), self._clock.monotonic()
        call = OpenCall(self._ids.new(), pool, turn, execution_id, since=now, limit=limit, trace=trace, kept=kept)
        self._calls[call.id] = pool.waiting[call.id] = call
        self._hand_out(pool)
        return call

    async def next_piece(self, call: OpenCall) -> str | Mark | None:
        """The next of the answer, None after the last. Raises `AgentFailed`, or `Unavailable` without a worker."""
        while True:
            if call.pieces:
                return call.pieces.popleft()
            if call.worker is None and call.kept is not None:
                self._hand_out(call.pool)  # it may have waited until this was carried out
            if call.error is not None:
                raise call.error
            if call.final:
                return None
            call.news.clear()
            try:
                patience = call.patience(self.reconnect_timeout, self._clock.monotonic())
                if patience is not None and not self.absence.begin(call):
                    raise absent(call.pool.agent)
                await call.until_news(patience, self._clock)
            except TimeoutError:
                if call.patience(self.reconnect_timeout, self._clock.monotonic()) == 0:
                    log.warning("no_worker", extra={"agent": call.pool.agent, "execution": call.execution_id})
                    self._fail(call, absent(call.pool.agent))

    def end(self, call: OpenCall, reason: str) -> None:
        """Nobody waits for the answer any more; a worker that still works on it, and does not know, is told so."""
        if call.id in self._calls:
            self._cancel(call, reason)

    # Workers

    def register(self, key: ClientKey, tell: Tell, asked: RegisterAgent) -> int:
        """The client serves the agent from now on; how many calls it had before, of which it is told again."""
        pool, agent = self._pool(asked.agent), asked.agent
        worker = pool.workers.get(key)
        if worker is None:
            worker = pool.workers[key] = self._clients.setdefault(key, {})[agent] = Worker(key, pool)
        kept = [] if worker.tell == tell else list(worker.calls.values())
        worker.serve(tell, asked)
        self.on_topics(agent)
        pool.look(self._clock.monotonic())
        for call in kept:
            tell(frame_of(call, worker, self._clock.monotonic(), redelivered=True))
        self._hand_out(pool)
        self.absence.on_arrival(agent)
        return len(kept)

    def unregister(self, key: ClientKey, agent: str) -> bool:
        """The client takes no more calls for the agent, and may end those that it has; whether it served it."""
        worker = self._clients.get(key, {}).get(agent)
        if worker is None or worker.resigned:
            return False
        self._resign(worker)
        return True

    def lost(self, key: ClientKey, tell: Tell) -> None:
        """The client's connection broke: its calls wait for it."""
        for worker in self._served_by(key, tell):
            worker.tell = None
            worker.losses += 1
            if worker.calls and self.reconnect_timeout > 0 and not self._closed:
                self._tasks.start(self._expire(worker, worker.losses), name=f"await {key[1]}")
                self._settle(worker)
            else:
                self._give_up(worker)

    def left(self, key: ClientKey, tell: Tell) -> None:
        """The client has said goodbye on that connection."""
        for worker in self._served_by(key, tell):
            self._let_go(worker)

    def began_anew(self, key: ClientKey) -> None:
        """The client is a new process, which knows nothing of the calls of the one before."""
        for worker in list(self._clients.get(key, {}).values()):
            self._let_go(worker)

    def reply(self, key: ClientKey, tell: Tell, reply: CallReply) -> None:
        """Part or end of an answer. Raises, and changes nothing, unless the call is open and with that client."""
        call = self._held(key, tell, reply.call_id)
        try:
            call.add(reply)
        except LimitExceeded as error:
            self._fail(call, AgentFailed("The answer is too long.", cause=error.message))
            tell(CancelCall(call.id, "the answer is too long"))
            raise
        if reply.error:
            self._fail(call, AgentFailed(reply.error, cause=f"worker {key[1]}: {reply.error}"))
        elif reply.final:
            call.final = True
            self._close(call)
        call.news.set()

    def keep(self, key: ClientKey, tell: Tell, frame: LeaveRequest) -> asyncio.Future[bool]:
        """What a call goes on from; once that is carried out, whether its execution has left. Raises as `reply`."""
        return self._held(key, tell, frame.call_id).keep(frame, tell)

    # Within

    def _held(self, key: ClientKey, tell: Tell, call_id: str) -> OpenCall:
        call = self.held(key, call_id)
        if call.worker is None or call.worker.tell != tell:
            raise not_open(call_id)
        return call

    def _pool(self, agent: str) -> Pool:
        return self._pools.get(agent) or self._pools.setdefault(agent, Pool(agent))

    def _hand_out(self, pool: Pool) -> None:
        while (call := pool.first()) is not None:
            if not call.may_move:  # what its last worker had put down was refused
                self._fail(call, cut_off(pool.agent))
                continue
            worker = pool.chosen(call.turn.session_id or call.execution_id)
            if worker is None or worker.tell is None:
                return
            del pool.waiting[call.id]
            call.worker = worker
            self.absence.end(call)
            worker.calls[call.id] = call
            worker.tell(frame_of(call, worker, self._clock.monotonic()))
        self.parting.look(pool.agent)

    def _served_by(self, key: ClientKey, tell: Tell) -> list[Worker]:
        return [worker for worker in self._clients.get(key, {}).values() if worker.tell == tell]

    async def _expire(self, worker: Worker, losses: int) -> None:
        await self._clock.sleep(self.reconnect_timeout)
        if worker.tell is None and worker.losses == losses and worker.calls:
            log.warning("worker_lost", extra={"agent": worker.pool.agent, "client": worker.key[1]})
            self._give_up(worker)

    def _give_up(self, worker: Worker) -> None:
        """It is lost for good, and its calls with it, but for those that another can go on with."""
        self._pass_on(worker, [call for call in worker.calls.values() if call.kept is not None and call.may_move])

    def _let_go(self, worker: Worker) -> None:
        """It is gone in order: what it has not begun to answer goes to another."""
        pool, worker.tell, now = worker.pool, None, self._clock.monotonic()
        moving = [call for call in worker.calls.values() if call.may_move and (pool.present or not call.is_message)]
        for call in moving:
            call.since = now
        self._pass_on(worker, moving)

    def _pass_on(self, worker: Worker, moving: Sequence[OpenCall]) -> None:
        pool = worker.pool
        for call in reversed(moving):
            pool.take_back(call)
        for call in list(worker.calls.values()):
            self._fail(call, cut_off(pool.agent))
        self._remove(worker)
        self._hand_out(pool)

    def _resign(self, worker: Worker) -> None:
        worker.resigned = True
        self._settle(worker)
        self.on_topics(worker.pool.agent)

    def _settle(self, worker: Worker) -> None:
        """It takes no calls now; forget it if it has none either."""
        if not worker.is_there and not worker.calls:
            self._remove(worker)
        else:
            worker.pool.look(self._clock.monotonic())

    def _remove(self, worker: Worker) -> None:
        pool, mine = worker.pool, self._clients.get(worker.key, {})
        if pool.workers.get(worker.key) is worker:
            del pool.workers[worker.key], mine[pool.agent]
        if not mine:
            self._clients.pop(worker.key, None)
        pool.look(self._clock.monotonic())
        self._tidy(pool)
        if worker.topics:
            self.on_topics(pool.agent)

    def _tidy(self, pool: Pool) -> None:
        self.parting.look(pool.agent)
        if not pool.workers and not pool.waiting and self._pools.get(pool.agent) is pool:
            del self._pools[pool.agent]

    def _cancel(self, call: OpenCall, reason: str) -> None:
        worker = call.worker
        self._close(call)
        if worker is not None and worker.tell is not None and worker.tell != call.left_over:
            worker.tell(CancelCall(call.id, reason))

    def _fail(self, call: OpenCall, error: Exception) -> None:
        call.error = error
        self._close(call)
        call.news.set()

    def _close(self, call: OpenCall) -> None:
        """It is with nobody any more."""
        if self._calls.pop(call.id, None) is None:
            return
        call.close()
        self.absence.end(call)
        pool = call.pool
        pool.waiting.pop(call.id, None)
        worker, call.worker = call.worker, None
        if worker is not None:
            worker.calls.pop(call.id, None)
            if not worker.is_there and not worker.calls:
                self._remove(worker)
            self._hand_out(pool)
        self._tidy(pool)
