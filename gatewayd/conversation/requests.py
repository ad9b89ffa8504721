"""What a client asks for on its conversation: each kind of frame and what is done about it.

A request is served beside the others and answered once, with `accepted` or `rejected`; what it cannot have is told on
its own and ends nothing.
"""

import logging
import re
from collections.abc import Callable, Coroutine
from functools import partial
from typing import get_args

from gatewayd.access.principals import Principal
from gatewayd.access.rules import required_for_frame
from gatewayd.conversation.doors import Doors
from gatewayd.conversation.objections import ConnectionRates, taken
from gatewayd.conversation.publishing import Batch
from gatewayd.conversation.replies import Replies
from gatewayd.conversation.sends import Waiting
from gatewayd.conversation.serving import Serving
from gatewayd.conversation.slots import Slots
from gatewayd.conversation.subscriptions import Subscriptions
from gatewayd.conversation.topics import ConversationTopics
from gatewayd.core.controls import Cancel, ControlRequest, InjectInput, Pause, Resume
from gatewayd.core.errors import GatewayError, Internal, LimitExceeded
from gatewayd.core.frames import (
    Accepted,
    Ended,
    EndReason,
    Ping,
    Pong,
    Publish,
    Rejected,
    Request,
    Send,
    ServerFrame,
    Subscribe,
    Trigger,
    Unsubscribe,
)
from gatewayd.core.push import Push, PushRequest
from gatewayd.core.workers import CallReply, PublishMessage, RegisterAgent, UnregisterAgent, WithinCall
from gatewayd.routing.router import Caller, Submitted
from gatewayd.service import TaskSet

log = logging.getLogger("gatewayd.conversation")

MAX_PENDING = 256
"""Requests of one connection that may be under way; the next one is read when one of them is answered."""
MAX_ASKING = 1000
"""Messages of one worker that may wait for their replies; one more is refused."""
_KINDS = {kind: re.sub(r"(?<=.)(?=[A-Z])", "_", kind.__name__).lower() for kind in get_args(Request)}
"""The name of each kind of request in `ConnectRequest.frame`."""


class Requests:
    """The requests of one connection, from its hello on. `put` sends an answer."""

    def __init__(
        self,
        *,
        principal: Principal,
        client_id: str,
        doors: Doors,
        subscriptions: Subscriptions,
        topics: ConversationTopics,
        serving: Serving,
        put: Callable[[ServerFrame], None],
    ) -> None:
        self._principal = principal
        self._client_id = client_id
        self._doors = doors
        self._subscriptions = subscriptions
        self._topics = topics
        self._serving = serving
        self._put = put
        self._slots = Slots(MAX_PENDING)
        self._tasks = TaskSet("conversation")
        self._asking = 0
        self._open: dict[str, None] = {}
        """Ids of requests of this connection that have no last answer yet: an id names one of them."""
        self.replies = Replies(doors.sends, put)
        self._rates = ConnectionRates(doors.clock, doors.settings)

    async def serve(self, frame: Request) -> None:
        """Begin to serve a request; waits only while too many are under way."""
        try:
            if frame.request_id in self._open:
                raise taken(frame.request_id)
            required_for_frame(_KINDS[type(frame)]).check(self._principal)
        except GatewayError as error:
            self._refuse(frame, error)
            return
        try:
            await self._begin(frame)
        except GatewayError as error:
            self._refuse(frame, error)

    def _refuse(self, frame: Request, error: GatewayError) -> None:
        """Answer `rejected`. What is refused for lack of right is audited."""
        self._doors.refused(self._principal.id, _KINDS[type(frame)], error)
        self._put(Rejected(frame.request_id, error))

    async def _begin(self, frame: Request) -> None:
        if isinstance(frame, WithinCall):
            await self._later(frame, partial(self._within, frame))
            return
        match frame:
            case Publish():
                self._rates.check_publish(len(frame.events))
                await self._publish(frame)
            case Send() if frame.call_id:
                self._ask(frame)
            case Send():
                self._rates.check_send()
                await self._later(frame, partial(self._sent, frame))
            case Trigger():
                await self._later(frame, partial(self._triggered, frame))
            case Subscribe():
                self._subscribe(frame)
            case Unsubscribe():
                self._unsubscribe(frame)
            case Cancel() | Pause() | Resume() | InjectInput():
                await self._later(frame, partial(self._controlled, frame))
            case Ping():
                self._put(Pong(frame.request_id))
            case RegisterAgent() | UnregisterAgent() | CallReply():
                self._put(self._serving.begin(frame))
            case _:
                if isinstance(frame, Push):
                    self._rates.check_publish(1)
                await self._later(frame, partial(self._about_topics, frame))

    async def close(self) -> None:
        """Nobody waits for the answers any more: end what was begun for them."""
        await self._tasks.close()

    # Under way

    async def _later(self, frame: Request, begin: Callable[[], Coroutine[None, None, Waiting | None]]) -> None:
        """Serve a request beside the others; `begin` may refuse it at once. What it gives is answered once more."""
        if self._slots.are_taken:
            await self._slots.freed()
        work = begin()
        self._slots.take()
        self._open[frame.request_id] = None
        self._tasks.start(self._answer(frame, work), name=f"request {frame.request_id}")

    async def _answer(self, frame: Request, work: Coroutine[None, None, Waiting | None]) -> None:
        request_id, waiting = frame.request_id, None
        try:
            waiting = await work
        except GatewayError as error:
            self._refuse(frame, error)
        except Exception:  # the boundary of one request: the client gets an answer, the log the traceback
            log.exception("request_crashed", extra={"client": self._client_id, "request": request_id})
            self._put(Rejected(request_id, Internal("the gateway failed on this request; its log says more")))
        finally:
            if waiting is None:
                self._open.pop(request_id, None)
            if isinstance(frame, Send) and frame.call_id:
                self._asking -= 1
            else:
                self._slots.give_back()
        if waiting is not None:  # here, since a task of its own would cost more than all the rest of it
            del frame, work  # what was said is kept by its execution: who waits, maybe for days, keeps only its ids
            self.replies.owe(waiting)
            await self._reply(waiting)

    # Events

    async def _publish(self, frame: Publish) -> None:
        """Submitted here and now, so that batches keep the order in which they came; answered when on disk."""
        if self._slots.are_taken:
            await self._slots.freed()
        batch = self._doors.publishing.publish(frame.events, self._principal, self._client_id)
        if batch.stored is None:
            self._put(Accepted(frame.request_id, count=batch.count))
            return
        self._slots.take()
        self._open[frame.request_id] = None
        # No task: this is the request that is frequent.
        batch.stored.add_done_callback(lambda _stored: self._published(frame.request_id, batch))

    def _published(self, request_id: str, batch: Batch) -> None:
        self._slots.give_back()
        self._open.pop(request_id, None)
        try:
            self._put(Accepted(request_id, cursor=batch.cursor(), count=batch.count))
        except GatewayError as error:
            self._put(Rejected(request_id, error))

    def _subscribe(self, frame: Subscribe) -> None:
        most = self._doors.settings().limits.queue_bytes
        self._put(self._subscriptions.add(frame, self._principal, self._client_id, most))

    def _unsubscribe(self, frame: Unsubscribe) -> None:
        position = self._subscriptions.remove(frame.subscription_id)
        self._put(Accepted(frame.request_id, cursor=position, existed=position is not None))
        if position is not None:
            self._put(Ended(frame.subscription_id, EndReason.UNSUBSCRIBED, position))

    # Push topics

    async def _about_topics(self, frame: PushRequest) -> None:
        self._put(await self._topics.begin(frame))

    # Messages to agents

    async def _sent(self, frame: Send) -> Waiting | None:
        return self._started(frame, *await self._doors.sends.submit(frame, Caller(self._principal, self._client_id)))

    async def _triggered(self, frame: Trigger) -> Waiting | None:
        return self._started(frame, *await self._doors.triggering.submit(frame, self._principal))

    def _started(self, frame: Send | Trigger, submitted: Submitted, waiting: Waiting) -> Waiting | None:
        """What answers is on disk; gives what is to be waited for."""
        accepted = submitted.accepted
        ids = (accepted.execution_id, accepted.message_id)
        is_known = isinstance(frame, Trigger) and accepted.duplicate
        self._put(Accepted(frame.request_id, execution_id=ids[0], message_id=ids[1], duplicate=is_known))
        return waiting if frame.await_reply else None

    def _ask(self, frame: Send) -> None:
        """A worker asks another agent. It takes no slot: the answer that it waits for may come on this connection."""
        if self._asking >= MAX_ASKING:
            what = f"{MAX_ASKING} messages of this connection wait for their replies"
            raise LimitExceeded(what, metadata={"limit": "worker_messages"}, retry_after=1.0)
        call = self._doors.speaking.begin(frame, self._principal, self._client_id)
        self._asking += 1
        self._open[frame.request_id] = None
        work = self._doors.speaking.answer(frame, call, self._put)
        self._tasks.start(self._answer(frame, work), name=f"ask {frame.request_id}")

    def _within(self, frame: WithinCall) -> Coroutine[None, None, None]:
        """Whether a worker may do it is looked at in its turn: the end of its call may be behind it in a batch."""
        if not isinstance(frame, PublishMessage):
            return self._serving.keep(frame, self._put)
        call = self._doors.speaking.begin_publishing(frame, self._principal, self._client_id)
        return self._doors.speaking.announce(frame, call, self._put)

    async def _controlled(self, frame: ControlRequest) -> None:
        await self._doors.controlling.act(frame, self._principal)
        self._put(Accepted(frame.request_id, execution_id=frame.execution_id))

    def await_reply(self, waiting: Waiting) -> None:
        """Give the reply to a request of an earlier connection, when it comes."""
        self.replies.owe(waiting)
        self._tasks.start(self._reply(waiting), name=f"reply {waiting.request_id}")

    async def _reply(self, waiting: Waiting) -> None:
        await self.replies.give(waiting)
        self._open.pop(waiting.request_id, None)
