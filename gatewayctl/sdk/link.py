"""One open stream, from its welcome to its end.

One task reads, one writes, one watches for silence; whoever ends first ends the others, and all are awaited. A link
is never repaired: when it is lost, everybody who waits on it gets `LinkLost` and begins again on the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.sdk.errors import GatewayError, LimitExceeded, from_frame, from_rpc
from gatewayctl.sdk.outgoing import Outgoing
from gatewayctl.sdk.receivers import Receivers
from gatewayctl.system import Clock

EOF: Any = getattr(grpc.aio, "EOF")  # noqa: B009 - the stubs do not know it

MAX_MESSAGE_BYTES = 4 << 20
"""Where the daemon does not say: gRPC's own bound."""

PATIENT = ("ack", "nack")
"""Requests whose answer nobody waits for before reading on."""

REQUEST_ID_BYTES = 64
"""What a request id that is still to be made adds to a frame, at most."""

Feed = Callable[[pb.ConnectResponse], Awaitable[None]]
OnReply = Callable[[pb.Reply], None]
Stream = Any
"""grpc.aio's call object, which has no type of its own in the stubs."""


class LinkLost(Exception):
    """The stream has ended; nothing is known of the requests that were not answered."""


class Link:
    """Requests and their answers, and routes for what the server sends of itself."""

    def __init__(
        self,
        stream: Stream,
        welcome: pb.Welcome,
        clock: Clock,
        number: int,
        receivers: Receivers,
    ) -> None:
        """`number` counts the links of the client."""
        self.welcome = welcome
        self.features = frozenset(welcome.features)
        self._awaited, self._addressed, self._topics = receivers.awaited, receivers.addressed, receivers.topics
        self.max_message_bytes = welcome.policy.max_message_bytes or MAX_MESSAGE_BYTES
        """Largest frame that the daemon takes; a larger one would end the stream."""
        self.lost = False
        self.gone = asyncio.Event()
        """Set with `lost`."""
        self.goodbye: pb.Goodbye | None = None
        self._stream = stream
        self._clock = clock
        self._number = number
        self._requests = 0
        self._answers: dict[str, asyncio.Future[pb.Accepted]] = {}
        self._patient: set[str] = set()
        self._replies: dict[str, tuple[OnReply, asyncio.Future[None]]] = {}
        self._routes: dict[str, tuple[Feed, asyncio.Future[pb.Ended]]] = {}
        self._outgoing = Outgoing(
            stream, together="batches" in self.features, most=self.max_message_bytes, left_out=self._left_out
        )
        self._heard = clock.monotonic()
        self._reading = True
        self._silent = False

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer, and so for the reading to go on."""
        return len(self._answers) > len(self._patient) or bool(self._replies) or bool(self._awaited)

    def new_id(self) -> str:
        """A request id that no other link of this client has used.

        The replies that a lost link left behind come on the next one under the ids they had.
        """
        self._requests += 1
        return f"{self._number}.{self._requests}"

    async def start(self, frame: pb.ConnectRequest) -> asyncio.Future[pb.Accepted]:
        """Send a request and return the future of its answer, which fails with a GatewayError or LinkLost.

        Cancelling that, as who waits for it does when it is cancelled, takes back what was not sent yet.

        Waits while the transport is behind. LimitExceeded for a frame that the daemon would not take; publishes are
        measured by who makes them.
        """
        size = 0 if frame.HasField("publish") else frame.ByteSize() + REQUEST_ID_BYTES
        if size > self.max_message_bytes:
            raise LimitExceeded(
                f"the request is {size - REQUEST_ID_BYTES} bytes; the daemon takes {self.max_message_bytes} in one "
                "message (gateway.limits.message_bytes)",
                code=8,
                reason="LIMIT_EXCEEDED",
                metadata={"limit": "message_bytes"},
            )
        await self._outgoing.room()
        if self.lost:
            raise LinkLost
        if not frame.request_id:
            frame.request_id = self.new_id()
        answer: asyncio.Future[pb.Accepted] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_retrieve)
        self._answers[frame.request_id] = answer
        if frame.WhichOneof("frame") in PATIENT:
            self._patient.add(frame.request_id)
        self._outgoing.put(frame, size, answer)
        return answer

    async def request(self, frame: pb.ConnectRequest) -> pb.Accepted:
        """Send a request and wait for its answer."""
        return await (await self.start(frame))

    def expect_replies(self, request_id: str, on_reply: OnReply) -> asyncio.Future[None]:
        """Call `on_reply` for each reply to the request. The future is done after the last one, or fails."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_retrieve)
        self._replies[request_id] = (on_reply, done)
        return done

    def forget(self, request_id: str) -> None:
        """Nobody waits for the replies any more."""
        self._replies.pop(request_id, None)

    def route(self, subscription_id: str, feed: Feed) -> asyncio.Future[pb.Ended]:
        """Where frames of this subscription go. While `feed` waits, nothing else of this stream is read.

        The future is the last word on the subscription, or fails with LinkLost.
        """
        over: asyncio.Future[pb.Ended] = asyncio.get_running_loop().create_future()
        over.add_done_callback(_retrieve)
        self._routes[subscription_id] = (feed, over)
        return over

    def unroute(self, subscription_id: str) -> None:
        """What still comes for it is dropped."""
        self._routes.pop(subscription_id, None)

    async def run(self) -> GatewayError | None:
        """Read and write until the stream ends; why it did, None if the server ended it in order."""
        loop = asyncio.get_running_loop()
        helpers = [loop.create_task(self._write(), name="link-write")]
        helpers.append(loop.create_task(self._watch(), name="link-watch"))
        try:
            return await self._read()
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            self._lose()
            self._stream.cancel()

    def end(self) -> None:
        """Cut the stream; `run` returns soon."""
        self._silent = True
        self._stream.cancel()

    def finish(self) -> None:
        """Say that nothing more will come; what was said before goes out first. The daemon then ends the stream."""
        self._outgoing.finish()

    async def _read(self) -> GatewayError | None:
        try:
            while (frame := await self._stream.read()) is not EOF:
                self._heard = self._clock.monotonic()
                if frame is None:  # gRPC could not read it, and has logged why
                    return GatewayError("the daemon sent a frame that cannot be read", code=13)
                if frame.HasField("batch"):
                    for one in frame.batch.responses:
                        await self._take(one)
                else:
                    await self._take(frame)
        except grpc.RpcError as error:
            return from_rpc(error)
        except asyncio.CancelledError:
            # grpc raises it for a call that we cut ourselves, too; the task's own cancellation passes, also when a
            # client that closes does both at once.
            task = asyncio.current_task()
            if not self._silent or (task is not None and task.cancelling()):
                raise
            return GatewayError("the connection was silent for too long", code=14)
        return None

    async def _take(self, frame: pb.ConnectResponse) -> None:
        kind = frame.WhichOneof("frame")
        self._patient.discard(frame.request_id)
        if kind == "accepted":
            if (answer := self._answers.pop(frame.request_id, None)) and not answer.done():
                answer.set_result(frame.accepted)
        elif kind == "rejected":
            error = from_frame(frame.rejected.error)
            if (answer := self._answers.pop(frame.request_id, None)) and not answer.done():
                answer.set_exception(error)
        elif kind == "reply":
            self._reply(frame.request_id, frame.reply)
        elif kind == "goodbye":
            self.goodbye = frame.goodbye
        elif kind in ("delivery", "progress", "gap"):
            await self._events(kind, frame)
        elif kind in ("call", "cancel_call", "registration_ended"):
            self._addressed(frame)
        elif kind in ("topic_delivery", "topic_ended"):
            await self._held_up(self._topics(self, frame))
        elif kind == "ended":
            _, over = self._routes.pop(frame.ended.subscription_id, (None, None))
            if over and not over.done():
                over.set_result(frame.ended)

    async def _events(self, kind: str, frame: pb.ConnectResponse) -> None:
        ids = (frame.gap.subscription_id,) if kind == "gap" else getattr(frame, kind).subscription_ids
        if any(ids):
            self._awaited.look(frame.delivery.events)
            await self._feed(ids, frame)
        else:
            self._addressed(frame)

    def _reply(self, request_id: str, reply: pb.Reply) -> None:
        if request_id not in self._replies:
            return
        on_reply, done = self._replies[request_id]
        on_reply(reply)
        if reply.final:
            del self._replies[request_id]
            if not done.done():
                done.set_result(None)

    async def _feed(self, ids: Any, frame: pb.ConnectResponse) -> None:
        for subscription_id in ids:
            if route := self._routes.get(subscription_id):
                await self._held_up(route[0](frame))

    async def _held_up(self, feed: Awaitable[None]) -> None:
        """While somebody has no room nothing is read, and so the silence says nothing of the connection."""
        self._reading = False
        await feed
        self._reading = True
        self._heard = self._clock.monotonic()

    async def _write(self) -> None:
        try:
            await self._outgoing.run()
        except (grpc.RpcError, asyncio.InvalidStateError):
            return  # the reader learns why the stream has ended

    def _left_out(self, frame: pb.ConnectRequest) -> None:
        """It was not sent, so it has no answer."""
        self._answers.pop(frame.request_id, None)
        self._patient.discard(frame.request_id)

    async def _watch(self) -> None:
        """After one silent interval ask for a pong, after two hold the connection for dead."""
        interval = self.welcome.policy.heartbeat_interval.ToTimedelta().total_seconds() or 30.0
        while True:
            await self._clock.sleep(interval / 2)
            silent = self._clock.monotonic() - self._heard
            if not self._reading or silent < interval:
                continue
            if silent >= 2 * interval:
                self.end()
                return
            ping = pb.ConnectRequest(request_id=self.new_id(), ping=pb.Ping())
            self._outgoing.put(ping, ping.ByteSize())

    def _lose(self) -> None:
        self.lost = True
        self.gone.set()
        waiting: list[asyncio.Future[Any]] = list(self._answers.values())
        waiting += [done for _, done in self._replies.values()]
        waiting += [over for _, over in self._routes.values()]
        self._answers.clear()
        self._patient.clear()
        self._replies.clear()
        self._routes.clear()
        self._outgoing.close()
        for future in waiting:
            if not future.done():
                future.set_exception(LinkLost())


def _retrieve(future: asyncio.Future[Any]) -> None:
    """A caller that was cancelled leaves its future behind; its error is nobody's then."""
    if not future.cancelled():
        future.exception()
