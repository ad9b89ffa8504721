"""What becomes of a call: it waits in its lane, is begun, and ends; or it is cut off and its handler interrupted.

Everything here is synchronous. `Runners` calls `take` and `begin` in turn; a handler that returns at its first step
has cost no task and no turn of the loop of its own.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from gatewayd.core.agents import Message
from gatewayd.core.errors import Cancelled, DeadlineExceeded, GatewayError, LimitExceeded
from gatewayd.core.tracing import Tracer
from gatewayd.engine.call import MAX_DEPTH, Call, Suspended
from gatewayd.engine.deadlines import Deadlines
from gatewayd.engine.entering import Entering
from gatewayd.engine.errors import CallCycle, HandlerExited, Superseded
from gatewayd.engine.events import MessageKind, Stage
from gatewayd.engine.lane import Lane
from gatewayd.engine.news import News, reason_of, unfit
from gatewayd.engine.serializers import Serializers
from gatewayd.engine.traffic import Traffic

GRACE = 10.0
"""Seconds that a handler has to end after it was interrupted."""
MAX_BEHIND = 100
"""Handlers that are left behind at once; a further one holds up its instance for as long as it likes."""


class Handling:
    """The lanes that have something to do, and what is done."""

    def __init__(
        self,
        *,
        traffic: Traffic,
        deadlines: Deadlines,
        news: News,
        serializers: Serializers,
        tracer: Tracer | None,
        queue_limit: int,
        make: Callable[[Lane], bool],
        abandon: Callable[[Lane], None],
        unhandled: Callable[[BaseException], None],
    ) -> None:
        self._traffic = traffic
        self._deadlines = deadlines
        self._news = news
        self._entering = Entering(news, serializers, tracer)
        self._observed = tracer is not None or news.wanted
        self._queue_limit = queue_limit
        self._make = make
        self._abandon = abandon
        self._unhandled = unhandled
        self.ready: deque[Lane] = deque()
        """Lanes with a message that may begin. Each stands here at most once."""
        self.open = False
        """Whether there are runners."""
        self.now = 0.0
        """The monotonic clock as a runner last read it: calls whose deadline is earlier are not begun."""
        self.asleep = False
        """Whether the runners have to be woken for a lane that becomes ready."""
        self.wake: Callable[[], None] = lambda: None
        self.behind = 0
        """Handlers that went on although they were interrupted, and that nobody waits for any more."""
        self.suspended: dict[Call, None] = {}
        """Calls whose handler waits for something."""

    # Waiting

    def offer(self, call: Call) -> None:
        """Put it at the end of its lane. `LimitExceeded` when that is full; `CallCycle` when it could not begin."""
        lane = call.lane
        if lane.before is not None and call.stays_with(lane.before):
            lane = call.lane = lane.before
        queue = lane.queue
        if lane.running and lane.limit == 1 and call.waiter is not None and call.comes_from(lane):
            raise CallCycle(f"{lane.id} waits for a call that asks {lane.id}, which handles one message at a time")
        if call.parent is not None and call.depth > MAX_DEPTH:
            raise CallCycle(f"{MAX_DEPTH} agents wait for each other already", metadata={"agent": str(lane.id)})
        displaced = queue[0] if lane.latest_only and queue else None
        if displaced is None and len(queue) >= self._queue_limit:
            self._traffic.refused += 1
            raise LimitExceeded(
                f"{self._queue_limit} messages wait for {lane.id}",
                metadata={"limit": "engine.queue", "agent": str(lane.id)},
                retry_after=1.0,
            )
        queue.append(call)
        self._traffic.queued += 1
        if displaced is not None:
            self.cut(displaced, Superseded(f"{lane.id} got a newer message"))
        if lane.listed or lane.held or lane.running >= lane.limit:
            self._deadlines.watch(call)
            return
        if lane.agent is None or not self.open:
            self._deadlines.watch(call)
        lane.listed = True
        self.ready.append(lane)
        if self.asleep:
            self.wake()

    def relist(self, lane: Lane) -> None:
        """It may begin messages again, after it was held."""
        if lane.queue and not lane.listed and not lane.held and lane.running < lane.limit:
            lane.listed = True
            self.ready.append(lane)
            if self.asleep:
                self.wake()

    def take(self) -> Call | None:
        """The next call to begin; None when there is none."""
        ready = self.ready
        while ready:
            lane = ready.popleft()
            lane.listed = False
            queue = lane.queue
            if not queue:
                continue
            if lane.held or lane.running >= lane.limit or (lane.agent is None and not self._make(lane)):
                self._waits(lane)
                continue
            call = queue[0]
            if call.deadline < self.now:
                lane.listed = True
                ready.appendleft(lane)
                self.expire(call)
                continue
            queue.popleft()
            lane.running += 1
            if queue and lane.running < lane.limit:
                lane.listed = True
                ready.append(lane)
            call.begun = True
            traffic = self._traffic
            lane.used = traffic.tick
            traffic.queued -= 1
            traffic.running += 1
            traffic.delivered += 1
            return call
        return None

    def _waits(self, lane: Lane) -> None:
        """Its messages wait for more than their turn: their deadlines have to be watched."""
        for call in lane.queue:
            if not call.watched:
                self._deadlines.watch(call)

    # Handling

    def begin(self, call: Call) -> Suspended | None:
        """The first step of its handler: None when that was all."""
        lane = call.lane
        agent = lane.agent
        message = call.message
        deadline = call.deadline
        assert agent is not None
        try:
            if (type(message) is Message) is not lane.takes_bytes:
                message = self._entering.translated(call)
            work = self._entering.watched(call, message) if self._observed else agent.on_message(message, call)
            waits_for = work.send(None)
        except StopIteration as stop:
            self.finish(call, stop.value)
            return None
        except asyncio.CancelledError:
            self.fail(call, Cancelled(f"the handler of {lane.id} was cancelled from within"))
            return None
        except BaseException as error:  # the boundary of the agent's own code; its exit is not the daemon's
            self.fail(call, error)
            return None
        self.suspended[call] = None
        if not call.watched or call.deadline != deadline:  # the handler may bring it forward
            self._deadlines.again(call)
        return work, waits_for

    def finish(self, call: Call, reply: object) -> None:
        """Its handler has returned."""
        waiter = call.waiter
        if waiter is not None and not waiter.done():
            if self._observed:
                self._news.stage(call, MessageKind.RESPOND, Stage.SEND, reply)
            waiter.set_result(reply)
        self._end(call)

    def fail(self, call: Call, error: BaseException) -> None:
        """Its handler has raised."""
        waiter = call.waiter
        if not isinstance(error, Exception):
            exited = HandlerExited(f"the handler of {call.lane.id} ended by {type(error).__name__}")
            exited.__cause__ = error
            error = exited
        if call.verdict is not None:  # nobody wants it any more, and how it ended was told when it was cut
            self._end(call)
        elif waiter is not None:
            self._news.failed(call, error)
            if not waiter.done():
                waiter.set_exception(error)
            self._end(call)
        elif reason := unfit(call, error):
            self._news.dropped(call, reason)
            self._end(call)
        else:
            self._news.failed(call, error)
            self._end(call)
            self._unhandled(error)

    def _end(self, call: Call) -> None:
        if call.ended:  # it was left behind
            self.behind -= 1
            return
        call.ended = True
        lane = call.lane
        lane.running -= 1
        self._traffic.running -= 1
        if call.watched:
            self._deadlines.forget(call)
        if call.link is not None:
            call.link.leave()
        if lane.queue and not lane.listed and not lane.held:
            lane.listed = True
            self.ready.append(lane)
        elif not lane.running:
            lane.free()
        self._traffic.ended()

    # Cutting off

    def expire(self, call: Call) -> None:
        """Its deadline has passed, or the time to end after it was cut off."""
        if call.verdict is not None:
            self._leave_behind(call)
            return
        self._traffic.expired += 1
        self.cut(
            call, DeadlineExceeded(f"{call.lane.id} did not answer in time", metadata={"agent": str(call.lane.id)})
        )

    def cancel(self, call: Call, why: str) -> None:
        """Its sender wants it no more."""
        if call.verdict is None and not call.ended:
            self._traffic.cancelled += 1
            self.cut(call, Cancelled(why, metadata={"agent": str(call.lane.id)}))

    def cut(self, call: Call, verdict: GatewayError) -> None:
        """Tell the waiter now. A call that waits is withdrawn; a handler that runs is interrupted at its await."""
        if call.ended or call.verdict is not None:
            return
        call.verdict = verdict
        if call.waiter is not None and not call.waiter.done():
            call.waiter.set_exception(verdict)
        if not call.begun:
            call.lane.queue.remove(call)
            self.withdrawn(call, verdict)
            return
        if call.waiter is None:
            if isinstance(verdict, DeadlineExceeded):
                self._news.failed(call, verdict)
            else:
                self._news.dropped(call, reason_of(verdict))
        call.cancel_token()
        self.interrupt(call)
        self._deadlines.grant(call, GRACE)

    def _leave_behind(self, call: Call) -> None:
        """It swallows its cancellation: the next message of its instance is not to wait for it any longer."""
        if call.ended or self.behind >= MAX_BEHIND:
            return
        self.behind += 1
        self._news.left_behind(call)
        self._end(call)

    def withdrawn(self, call: Call, verdict: GatewayError) -> None:
        """A call that has left its queue without being begun ends with that verdict."""
        call.verdict = verdict
        call.ended = True
        if call.waiter is not None and not call.waiter.done():
            call.waiter.set_exception(verdict)
        self._traffic.queued -= 1
        if call.watched:
            self._deadlines.forget(call)
        if call.link is not None:
            call.link.leave()
        self._news.dropped(call, reason_of(verdict))
        lane = call.lane
        if not lane.queue and not lane.running:
            lane.free()
            if lane.agent is None and lane.idle:
                self._abandon(lane)  # nobody ever got as far as making it
        self._traffic.ended()

    def interrupt(self, call: Call) -> None:
        """Raise `CancelledError` in its handler where it waits, once; a first step that is under way is let go on."""
        if call.task is not None and not call.interrupted and not call.ended:
            call.interrupted = True
            call.task.cancel()
