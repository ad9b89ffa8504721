"""One `Connect` conversation, free of any transport: frames in by `receive`, frames out by `next_frame`.

A transport runs one receive loop and one send loop around it; whoever ends first ends the other. Answers go into a
control lane that is always sent before data, so no answer waits behind more than one frame of events. A refused request
is answered by `rejected` and ends nothing; a frame that cannot be read ends the stream.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Protocol

from gatewayd.access.principals import Principal
from gatewayd.conversation.doors import Doors
from gatewayd.conversation.outgoing import Outgoing
from gatewayd.conversation.pace import Pace
from gatewayd.conversation.requests import Requests
from gatewayd.conversation.sends import Waiting
from gatewayd.conversation.serving import Serving
from gatewayd.conversation.subscriptions import Subscriptions
from gatewayd.conversation.topics import ConversationTopics
from gatewayd.conversation.writing import Writing
from gatewayd.core.errors import GatewayError, InvalidArgument, LimitExceeded, ProtocolViolation
from gatewayd.core.event import EventType
from gatewayd.core.frames import (
    EndReason,
    Goodbye,
    Hello,
    LostSubscription,
    Publish,
    RecoveryStep,
    Refused,
    Rejected,
    Reply,
    Request,
    RequestBatch,
    Send,
    ServerFrame,
    Trigger,
    Welcome,
)
from gatewayd.core.wake import Wake
from gatewayd.wire import decode_client_frame, encode_server_frame

BURST = 64
"""Requests of one batch that are begun before others have their turn; a `publish` counts as many."""


class Host(Protocol):
    """Whose conversations they are: the hub."""

    def greet(self, conversation: "Conversation", hello: Hello) -> ServerFrame:
        """The answer to its hello."""
        ...

    def served(self, conversation: "Conversation", kind: EventType, agent: str, data: Mapping[str, object]) -> None:
        """Record that its client has begun or ended to answer for an agent."""
        ...


class Conversation:
    """See the module's docstring. Made by its host."""

    def __init__(self, *, principal: Principal, peer: str, doors: Doors, host: Host) -> None:
        self.principal = principal
        self.peer = peer
        self.client_id = ""
        self.client_version = ""
        self.opened = doors.clock.now()
        self.active = self.opened
        """When its last frame came, Unix seconds."""
        self.has_spoken = False
        """Whether a frame came behind its hello."""
        self.error: GatewayError | None = None
        self.traceparent = ""
        """The trace of requests that name none: that which the connection was opened under; '' for none."""
        self.writing = Writing()
        self._doors = doors
        self._host = host
        self._batches = False
        """Whether the client takes several frames in one."""
        self._pace: Pace | None = None
        """Of the frames that may go out so: all but the first, the welcome, which comes by itself."""
        self.wake = Wake()
        """Set while `next_frame` may have something, or the conversation is over."""
        wake = self.wake.set
        self._ending = False
        self._requests: Requests | None = None
        self.topics = ConversationTopics(
            push=doors.push, principal=principal, clock=doors.clock, wake=wake, put=self.put
        )
        self.serving = Serving(
            agents=doors.agents,
            principal=principal,
            wake=wake,
            tell=self._served,
        )
        self.subscriptions = Subscriptions(bus=doors.bus, oldest=doors.oldest, wake=wake, begun=self._text_so_far)
        self._outgoing = Outgoing(self.serving, self.subscriptions, self.topics)

    # In

    async def receive(self, data: bytes) -> None:
        """Take one frame. Waits only while too many requests are under way. Raises what ends the stream.

        Nothing once it is over: no answer could be given, and the client's next connection may be there already.
        """
        if self._ending:
            return
        try:
            frame = decode_client_frame(data)
        except ProtocolViolation:
            raise
        except InvalidArgument as error:
            self.refuse(error)
            return
        self.active = self._doors.clock.now()
        if isinstance(frame, Hello):
            self._open(frame)
            return
        if self._requests is None:
            raise ProtocolViolation("the first frame of a stream must be hello")
        self.has_spoken = True
        if isinstance(frame, RequestBatch):
            await self._receive_all(self._requests, frame)
        else:
            await self._serve(self._requests, frame)

    def _serve(self, requests: Requests, frame: Request) -> Awaitable[None]:
        if self.traceparent and isinstance(frame, Send | Trigger) and not frame.traceparent:
            frame = replace(frame, traceparent=self.traceparent)
        return requests.serve(frame)

    async def _receive_all(self, requests: Requests, batch: RequestBatch) -> None:
        """One after the other, as if each had come alone."""
        begun = 0
        for one in batch.requests:
            if self._ending:
                return
            if isinstance(one, Rejected):
                self.put(one)
            else:
                await self._serve(requests, one)
            begun += BURST if isinstance(one, Publish) else 1
            if begun >= BURST:
                begun = 0
                await asyncio.sleep(0)

    def _open(self, hello: Hello) -> None:
        if self._requests is not None:
            raise ProtocolViolation("a second hello on one stream")
        self.client_id, self.client_version = hello.client_id, hello.client_version
        self._requests = Requests(
            principal=self.principal,
            client_id=hello.client_id,
            doors=self._doors,
            subscriptions=self.subscriptions,
            topics=self.topics,
            serving=self.serving,
            put=self.put,
        )
        answer = self._host.greet(self, hello)
        self.put(answer)
        if isinstance(answer, Refused):
            self.end(answer.error)
        else:
            self.topics.welcomed(hello.client_id)
            self.serving.welcomed(hello.client_id, resumed=isinstance(answer, Welcome) and answer.resumed)
        self._batches = hello.batches

    def refuse(self, error: InvalidArgument) -> None:
        """A frame whose words are wrong: its request is refused; without a welcome the stream ends."""
        request_id = error.metadata.pop("request_id", "")
        if self.client_id:
            self.put(Rejected(request_id, error))
            return
        self.put(Refused(error, RecoveryStep.DO_NOT_RETRY))
        self.end(error)

    def await_reply(self, waiting: Waiting) -> None:
        """Give the reply of a send that an earlier connection of this client left unanswered."""
        assert self._requests is not None, "before its hello a conversation has no client"
        self._requests.await_reply(waiting)

    @property
    def pending_replies(self) -> int:
        """Sends that have no final reply yet."""
        return self._requests.replies.pending if self._requests is not None else 0

    # Out

    def put(self, frame: ServerFrame) -> None:
        """Queue an answer before all data."""
        if self._ending and not isinstance(frame, Goodbye):
            return
        replying = frame.request_id if isinstance(frame, Reply) and frame.final else ""
        if not self._outgoing.put(encode_server_frame(frame), replying):
            self.end(LimitExceeded("answers were not read", metadata={"limit": "control_bytes"}, retry_after=1.0))
        self.wake.set()

    def next_frame(self) -> bytes | None:
        """The next frame to send, if there is one now. `sent` is to be called before the next one is asked for."""
        self.wake.clear()
        data = self._outgoing.next(together=self._pace is not None, answers_only=self._ending)
        if data is not None and (self._ending or self._outgoing.has_more):
            self.wake.set()
        return data

    def sent(self) -> None:
        """What `next_frame` gave has been handed to the transport, whose write began at `writing.began`."""
        self.subscriptions.sent()
        if (replying := self._outgoing.replying) and self._requests is not None:
            for request_id in replying:
                self._requests.replies.sent(request_id)
            replying.clear()
        if self._batches:
            self._pace = self._pace or Pace()
            self._pace.sent(self.writing.began, self._doors.clock.monotonic(), self._outgoing.joined)
        self.writing.began = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it has ended: once `next_frame` has no more, nothing comes."""
        return self._ending

    @property
    def hold(self) -> float:
        """Seconds to let more come together before `next_frame`, now that there is something; none if not above 0.

        What the bus has gathered goes at once.
        """
        if self._pace is None or self._ending or self.subscriptions.ready:
            return 0.0
        return self._pace.hold(self._doors.clock.monotonic())

    @property
    def delivered(self) -> int:
        """Events that were handed to the transport."""
        return self._outgoing.delivered

    def tick(self) -> None:
        """Called every heartbeat interval: idle readers learn how far they may go on from."""
        self.subscriptions.tick()
        for frame in self.subscriptions.progress():
            self.put(frame)

    def _served(self, kind: EventType, agent: str, data: Mapping[str, object]) -> None:
        self._host.served(self, kind, agent, data)

    def _text_so_far(self, execution_id: str) -> str:
        live = self._doors.router.runtime.live(execution_id)
        return live.text if live is not None else ""

    # End

    def goodbye(self, frame: Goodbye) -> None:
        """The gateway stops: say so, and end with the last reply that is waited for.

        Who answers for an agent stays until `end`: what still runs may need it.
        """
        self.put(frame)
        if self.serving.is_serving:
            return
        if self._requests is not None:
            self._requests.replies.leave_when_given(lambda: self.end(None))
        else:
            self.end(None)

    def end(self, error: GatewayError | None) -> None:
        """End after what is queued now; `error` becomes the status of the stream."""
        if not self._ending:
            self._ending = True
            self.error = error
            self.wake.set()

    def detach(self, reason: EndReason) -> tuple[tuple[LostSubscription, ...], tuple[Waiting, ...]]:
        """Let go of subscriptions and unanswered sends: what a next connection of this client may take up."""
        self._ending = True
        self.wake.set()
        self.serving.detach(reason)
        self.topics.detach(lost=reason is not EndReason.UNSUBSCRIBED, active=self.active)
        waiting = self._requests.replies.give_up() if self._requests is not None else ()
        return self.subscriptions.lost(reason), waiting

    async def close(self, reason: EndReason) -> None:
        """The transport is gone: end everything that was done for it."""
        self.detach(reason)
        if self._requests is not None:
            await self._requests.close()
