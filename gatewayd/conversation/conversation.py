"""One `Connect` conversation, free of any transport: frames in by `receive`, frames out by `next_frame`.

A transport runs one receive loop and one send loop around it; whoever ends first ends the other. Answers go into a
control lane that is always sent before data, so no answer waits behind more than one frame of events. A refused request
is answered by `rejected` and ends nothing; a frame that cannot be read ends the stream.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine

from gatewayd.access.principals import Principal
from gatewayd.access.rules import required_for_frame
from gatewayd.bus.base import EventBus
from gatewayd.config.model import GatewaySection
from gatewayd.conversation.publishing import Publishing
from gatewayd.conversation.sends import Sends, Waiting
from gatewayd.conversation.subscriptions import Subscriptions
from gatewayd.core.clock import Clock
from gatewayd.core.errors import (
    DeadlineExceeded,
    GatewayError,
    Internal,
    InvalidArgument,
    LimitExceeded,
    ProtocolViolation,
)
from gatewayd.core.event import Cursor
from gatewayd.core.frames import (
    Accepted,
    Cancel,
    ClientFrame,
    Delivery,
    Ended,
    EndReason,
    Goodbye,
    Hello,
    LostSubscription,
    Ping,
    Pong,
    Publish,
    RecoveryStep,
    Refused,
    Rejected,
    Reply,
    Send,
    ServerFrame,
    Subscribe,
    Unsubscribe,
)
from gatewayd.core.rate import TokenBucket
from gatewayd.core.value import value
from gatewayd.core.work import ExecutionState
from gatewayd.routing.router import Caller, Router
from gatewayd.service import TaskSet
from gatewayd.wire import decode_client_frame, encode_server_frame

log = logging.getLogger("gatewayd.conversation")

MAX_PENDING = 256
"""Requests of one connection that may be under way; the next one is read when one of them is answered."""
MAX_CONTROL_BYTES = 4 * 1024 * 1024
"""Answers that may wait for a reader that does not read; beyond it the connection is cut."""


@value(frozen=True, slots=True)
class Doors:
    """What a conversation leads to; one per gateway."""

    router: Router
    publishing: Publishing
    sends: Sends
    bus: EventBus
    oldest: Callable[[], Cursor]
    settings: Callable[[], GatewaySection]
    clock: Clock


class Conversation:
    """See the module's docstring. Made by the hub, which also answers its hello."""

    def __init__(
        self, *, principal: Principal, peer: str, doors: Doors, greet: "Callable[[Conversation, Hello], ServerFrame]"
    ) -> None:
        self.principal = principal
        self.peer = peer
        self.client_id = ""
        self.client_version = ""
        self.opened = doors.clock.now()
        self.active = self.opened
        """When its last frame came, Unix seconds."""
        self.delivered = 0
        """Events that were handed to the transport."""
        self.error: GatewayError | None = None
        self._doors = doors
        self._greet = greet
        self._control: deque[bytes] = deque()
        self._control_bytes = 0
        self._wake = asyncio.Event()
        self._ending = False
        self._leaving = False
        self._slots = asyncio.Semaphore(MAX_PENDING)
        self._tasks = TaskSet("conversation")
        self._waiting: dict[str, Waiting] = {}
        self.subscriptions = Subscriptions(bus=doors.bus, oldest=doors.oldest, wake=self._wake.set)
        limits = doors.settings().limits
        self._publish_rate = TokenBucket(doors.clock, limits.publish_rate, limits.publish_rate)
        self._send_rate = TokenBucket(doors.clock, limits.send_rate, limits.send_rate)

    # In

    async def receive(self, data: bytes) -> None:
        """Take one frame. Waits only while too many requests are under way. Raises what ends the stream."""
        try:
            frame = decode_client_frame(data)
        except ProtocolViolation:
            raise
        except InvalidArgument as error:
            self._refuse_unread(error)
            return
        self.active = self._doors.clock.now()
        if isinstance(frame, Hello):
            if self.client_id:
                raise ProtocolViolation("a second hello on one stream")
            self.client_id, self.client_version = frame.client_id, frame.client_version
            answer = self._greet(self, frame)
            self.put(answer)
            if isinstance(answer, Refused):
                self.end(answer.error)
            return
        if not self.client_id:
            raise ProtocolViolation("the first frame of a stream must be hello")
        try:
            required_for_frame(type(frame).__name__.lower()).check(self.principal)
            await self._serve(frame)
        except GatewayError as error:
            self.put(Rejected(frame.request_id, error))

    def _refuse_unread(self, error: InvalidArgument) -> None:
        """A frame whose words are wrong: its request is refused; without a welcome the stream ends."""
        if self.client_id:
            self.put(Rejected(error.metadata.pop("request_id", ""), error))
            return
        self.put(Refused(error, RecoveryStep.DO_NOT_RETRY))
        self.end(error)

    async def _serve(self, frame: ClientFrame) -> None:
        match frame:
            case Publish():
                _check_rate(self._publish_rate, len(frame.events), "limits.publish_rate")
                await self._later(frame.request_id, lambda: self._published(frame))
            case Send():
                _check_rate(self._send_rate, 1, "limits.send_rate")
                await self._later(frame.request_id, lambda: self._sent(frame))
            case Subscribe():
                most = self._doors.settings().limits.queue_bytes
                self.put(self.subscriptions.add(frame, self.principal, self.client_id, most))
            case Unsubscribe():
                position = self.subscriptions.remove(frame.subscription_id)
                self.put(Accepted(frame.request_id, cursor=position, existed=position is not None))
                if position is not None:
                    self.put(Ended(frame.subscription_id, EndReason.UNSUBSCRIBED, position))
            case Cancel():
                await self._later(frame.request_id, lambda: self._cancelled(frame))
            case Ping():
                self.put(Pong(frame.request_id))

    async def _later(self, request_id: str, begin: Callable[[], Coroutine[None, None, None]]) -> None:
        """Serve a request beside the others; `begin` may refuse it at once."""
        await self._slots.acquire()
        try:
            work = begin()
        except BaseException:
            self._slots.release()
            raise
        self._tasks.start(self._answer(request_id, work), name=f"request {request_id}")

    async def _answer(self, request_id: str, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except GatewayError as error:
            self.put(Rejected(request_id, error))
        except Exception:  # the boundary of one request: the client gets an answer, the log the traceback
            log.exception("request_crashed", extra={"client": self.client_id, "request": request_id})
            self.put(Rejected(request_id, Internal("the gateway failed on this request; its log says more")))
        finally:
            self._slots.release()

    def _published(self, frame: Publish) -> Coroutine[None, None, None]:
        """Submitted here and now, so that batches keep the order in which they came; answered when on disk."""
        batch = self._doors.publishing.publish(frame.events, self.principal, self.client_id)

        async def answer() -> None:
            self.put(Accepted(frame.request_id, cursor=(await batch).cursor))

        return answer()

    async def _sent(self, send: Send) -> None:
        caller = Caller(self.principal, self.client_id)
        submitted, waiting = await self._doors.sends.submit(send, caller)
        accepted = submitted.accepted
        self.put(Accepted(send.request_id, execution_id=accepted.execution_id, message_id=accepted.message_id))
        if send.await_reply:
            self.await_reply(waiting)

    async def _cancelled(self, frame: Cancel) -> None:
        await self._doors.router.cancel(frame.execution_id, Caller(self.principal, self.client_id))
        self.put(Accepted(frame.request_id, execution_id=frame.execution_id))

    def await_reply(self, waiting: Waiting) -> None:
        """Give the reply of an accepted send when it comes; also for one that an earlier connection sent."""
        self._waiting[waiting.request_id] = waiting
        self._tasks.start(self._reply(waiting), name=f"reply {waiting.request_id}")

    async def _reply(self, waiting: Waiting) -> None:
        reply: Reply = await self._doors.sends.reply(waiting, self.put)
        if self._leaving and reply.state is ExecutionState.QUEUED and not isinstance(reply.error, DeadlineExceeded):
            return  # put off to the next start, where the client asks again by its key
        self._waiting.pop(waiting.request_id, None)
        self.put(reply)
        if self._leaving and not self._waiting:
            self.end(None)

    # Out

    def put(self, frame: ServerFrame) -> None:
        """Queue an answer before all data."""
        if self._ending and not isinstance(frame, Goodbye):
            return
        data = encode_server_frame(frame)
        self._control.append(data)
        self._control_bytes += len(data)
        if self._control_bytes > MAX_CONTROL_BYTES:
            self._control.clear()
            self.end(LimitExceeded("answers were not read", metadata={"limit": "control_bytes"}, retry_after=1.0))
        self._wake.set()

    async def next_frame(self) -> bytes | None:
        """The next frame to send, when there is one; None when the conversation has ended."""
        while True:
            if self._control:
                data = self._control.popleft()
                self._control_bytes -= len(data)
                return data
            if self._ending:
                return None
            if (frame := self.subscriptions.next_frame()) is not None:
                if isinstance(frame, Delivery):
                    self.delivered += len(frame.events)
                return encode_server_frame(frame)
            self._wake.clear()
            if not self._control and not self.subscriptions.have_news:
                await self._wake.wait()

    def tick(self) -> None:
        """Called every heartbeat interval: idle readers learn how far they may go on from."""
        for frame in self.subscriptions.progress():
            self.put(frame)

    @property
    def pending_replies(self) -> int:
        return len(self._waiting)

    # End

    def goodbye(self, frame: Goodbye) -> None:
        """The gateway stops: say so, and end with the last reply that is waited for."""
        self.put(frame)
        self._leaving = True
        if not self._waiting:
            self.end(None)

    def end(self, error: GatewayError | None) -> None:
        """End after what is queued now; `error` becomes the status of the stream."""
        if not self._ending:
            self._ending = True
            self.error = error
            self._wake.set()

    def detach(self, reason: EndReason) -> tuple[tuple[LostSubscription, ...], tuple[Waiting, ...]]:
        """Let go of subscriptions and unanswered sends: what a next connection of this client may take up."""
        self._ending = True
        self._wake.set()
        waiting = tuple(self._waiting.values())
        self._waiting.clear()
        return self.subscriptions.lost(reason), waiting

    async def close(self, reason: EndReason) -> None:
        """The transport is gone: end everything that was done for it."""
        self.detach(reason)
        await self._tasks.close()


def _check_rate(bucket: TokenBucket, count: int, name: str) -> None:
    wait = bucket.wait_for(count)
    if wait > 0:
        raise LimitExceeded(f"too fast: gateway.{name}", metadata={"limit": name}, retry_after=wait)
