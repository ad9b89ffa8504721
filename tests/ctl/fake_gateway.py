"""A small gateway for the tests of gatewayctl: the contract over a real socket, with faults at chosen points.

It keeps a log of events with cursors, knows event ids and idempotency keys it has seen, and cuts a stream when a
test says so: `cuts["stored"] = 2` cuts at the second time a batch is stored and before it is acknowledged.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from gateway.v1 import (
    admin_service_pb2,
    agent_service_pb2,
    event_pb2,
    event_type_pb2,
    execution_pb2,
    push_service_pb2,
    runtime_service_pb2,
    session_service_pb2,
)
from gateway.v1 import event_service_pb2 as pb
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.ctl.fake_push import FakePush
from tests.ctl.refusal import Refusal

__all__ = ["FakeGateway", "Refusal", "Stream"]

FILES = (admin_service_pb2, agent_service_pb2, pb, push_service_pb2, runtime_service_pb2, session_service_pb2)
EPHEMERAL = {event_type_pb2.EVENT_TYPE_LLM_TEXT_DELTA, event_type_pb2.EVENT_TYPE_BROADCAST}
Answer = Message | Exception | Callable[[Any], Message]


@dataclass(eq=False)
class Stream:
    """One open Connect call."""

    out: asyncio.Queue[pb.ConnectResponse | None] = field(default_factory=lambda: asyncio.Queue(10_000))
    subscriptions: dict[str, event_pb2.EventFilter] = field(default_factory=dict)
    half_closed: bool = False
    client_id: str = ""

    def say(self, **frame: Any) -> None:
        self.out.put_nowait(pb.ConnectResponse(**frame))

    def cut(self) -> None:
        """End it without a word, with everything that is still queued lost."""
        while not self.out.empty():
            self.out.get_nowait()
        self.out.put_nowait(None)


class FakeGateway(grpc.GenericRpcHandler):
    """See the module's docstring."""

    def __init__(self) -> None:
        self.address = ""
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, Message]] = []
        self.tokens: list[str | None] = []
        self.required_token: str | None = None
        self.log: list[event_pb2.Event] = []
        self.oldest = 0
        self.epoch = "e1"
        self.batches: list[int] = []
        self.runs: list[str] = []
        self.hellos: list[pb.Hello] = []
        self.streams: list[Stream] = []
        self.cuts: dict[str, int] = {}
        self.max_message_bytes = 4 << 20
        self.features: tuple[str, ...] = ()
        self.half_closed = 0
        self.on_hello: Callable[[int], None] = lambda number: None
        self.refuse_hello: pb.Refused | None = None
        self.reject_publish: Callable[[event_pb2.Event], bool] = lambda event: False
        self.answer_gate = asyncio.Event()
        self.answer_gate.set()
        self.push = FakePush(self.streams)
        self._seen: dict[str, str] = {}
        self._replies: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: grpc.aio.Server | None = None
        self._methods = {
            f"/gateway.v1.{service.name}/{method.name}": method
            for file in FILES
            for service in file.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }

    async def start(self, address: str) -> "FakeGateway":
        """Listen; `address` is unix:PATH, or HOST:0 for a free port."""
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        self._server.add_generic_rpc_handlers((self,))
        port = self._server.add_insecure_port(address)
        self.address = address if address.startswith("unix:") else f"127.0.0.1:{port}"
        await self._server.start()
        return self

    async def stop(self) -> None:
        for stream in self.streams:
            stream.cut()
        if self._server is not None:
            await self._server.stop(0)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = self._methods.get(details.method)
        if method is None:
            return None
        if method.name == "Connect":
            return grpc.stream_stream_rpc_method_handler(
                self._connect, pb.ConnectRequest.FromString, pb.ConnectResponse.SerializeToString
            )

        async def unary(request: Message, context: grpc.aio.ServicerContext) -> Message:
            await self._authenticate(context)
            name = details.method.removeprefix("/gateway.v1.")
            self.requests.append((name, request))
            answer = self.answers.get(name, GetMessageClass(method.output_type)())
            if callable(answer) and not isinstance(answer, Message):
                answer = answer(request)
            if isinstance(answer, Refusal):
                await self._abort(context, answer)
            assert isinstance(answer, Message)
            return answer

        kind = GetMessageClass(method.input_type)
        return grpc.unary_unary_rpc_method_handler(
            unary, kind.FromString, GetMessageClass(method.output_type).SerializeToString
        )

    async def _authenticate(self, context: grpc.aio.ServicerContext) -> None:
        sent = dict(context.invocation_metadata() or ()).get("authorization")
        self.tokens.append(sent)
        if self.required_token and sent != f"Bearer {self.required_token}":
            await self._abort(
                context, Refusal(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", "no valid token was sent")
            )

    async def _abort(self, context: grpc.aio.ServicerContext, refusal: Refusal) -> None:
        details = (("grpc-status-details-bin", refusal.packed()),)
        await context.abort(refusal.code, refusal.message, trailing_metadata=details)

    # Connect

    async def _connect(
        self, frames: AsyncIterator[pb.ConnectRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.ConnectResponse]:
        await self._authenticate(context)
        stream = Stream()
        self.streams.append(stream)
        reading = asyncio.create_task(self._read(frames, stream))
        try:
            while (frame := await stream.out.get()) is not None:
                yield frame
                said = {"delivery": "delivered", "welcome": "welcomed"}.get(frame.WhichOneof("frame") or "")
                if said:
                    self._cut_at(said, stream)
            if stream.half_closed:
                return
            await context.abort(grpc.StatusCode.UNAVAILABLE, "cut by the test")
        finally:
            self.streams.remove(stream)
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    async def _read(self, frames: AsyncIterator[pb.ConnectRequest], stream: Stream) -> None:
        async for frame in frames:
            kind = frame.WhichOneof("frame")
            if self._cut_at(f"got_{kind}", stream):
                return
            if kind in ("send", "trigger"):
                # Like the daemon: one request does not hold up the next.
                task = asyncio.create_task(getattr(self, f"_{kind}")(stream, frame))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif kind in FakePush.REQUESTS:
                self._topics(stream, frame)
            else:
                getattr(self, f"_{kind}")(stream, frame)
        stream.half_closed = True
        self.half_closed += 1
        stream.out.put_nowait(None)

    def _cut_at(self, point: str, stream: Stream) -> bool:
        if point not in self.cuts:
            return False
        self.cuts[point] -= 1
        if self.cuts[point]:
            return False
        del self.cuts[point]
        stream.cut()
        return True

    def _hello(self, stream: Stream, frame: pb.ConnectRequest) -> None:
        self.hellos.append(frame.hello)
        stream.client_id = frame.hello.client_id
        if self.refuse_hello is not None:
            stream.say(refused=self.refuse_hello)
            return
        self.on_hello(len(self.hellos))
        policy = pb.Policy(max_message_bytes=self.max_message_bytes, max_queue_bytes=4 << 20)
        policy.heartbeat_interval.FromMilliseconds(30_000)
        stream.say(
            welcome=pb.Welcome(
                protocol=1,
                server_version="fake",
                features=self.features,
                policy=policy,
                resume_token=f"resume-{len(self.hellos)}",
                resumed=bool(frame.hello.resume_token),
                cursor=self.cursor(len(self.log)),
            )
        )

    def cursor(self, place: int) -> str:
        return f"{self.epoch}:{place}"

    def _subscribe(self, stream: Stream, frame: pb.ConnectRequest) -> None:
        wanted = frame.subscribe
        epoch, _, place = wanted.since.partition(":")
        start = int(place) if wanted.since else len(self.log)
        if wanted.since and (epoch != self.epoch or start < self.oldest):
            lost = Refusal(
                grpc.StatusCode.OUT_OF_RANGE,
                "HISTORY_LOST",
                "that is no longer kept",
                metadata={"oldest_cursor": self.cursor(self.oldest)},
            )
            stream.say(request_id=frame.request_id, rejected=pb.Rejected(error=lost.frame()))
            return
        stream.subscriptions[wanted.subscription_id] = wanted.filter
        stream.say(request_id=frame.request_id, accepted=pb.Accepted(cursor=self.cursor(start), existed=True))
        for at in range(start, len(self.log), 16):
            self._deliver(stream, wanted.subscription_id, self.log[at : at + 16])

    def _unsubscribe(self, stream: Stream, frame: pb.ConnectRequest) -> None:
        name = frame.unsubscribe.subscription_id
        existed = stream.subscriptions.pop(name, None) is not None
        stream.say(request_id=frame.request_id, accepted=pb.Accepted(existed=existed))
        if existed:
            stream.say(ended=pb.Ended(subscription_id=name, reason=pb.END_REASON_UNSUBSCRIBED))

    def _deliver(self, stream: Stream, name: str, events: list[event_pb2.Event]) -> None:
        wanted = stream.subscriptions[name]
        chosen = [each for each in events if wanted.all_types or each.type in wanted.types]
        if chosen:
            seqs = [each.seq for each in chosen if each.HasField("seq")]
            cursor = self.cursor(seqs[-1]) if seqs else ""
            stream.say(delivery=pb.Delivery(subscription_ids=[name], cursor=cursor, events=chosen))

    def _publish(self, stream: Stream, frame: pb.ConnectRequest) -> None:
        events = list(frame.publish.events)
        self.batches.append(len(events))
        if any(self.reject_publish(event) for event in events):
            error = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "an event is refused")
            stream.say(request_id=frame.request_id, rejected=pb.Rejected(error=error.frame()))
            return
        self.add(*events)
        if self._cut_at("stored", stream):
            return
        cursor = self.cursor(len(self.log))
        stream.say(request_id=frame.request_id, accepted=pb.Accepted(cursor=cursor, existed=True))

    def add(self, *events: event_pb2.Event) -> None:
        """Store and deliver, as if they had been published; a known id is stored once."""
        fresh = []
        for event in events:
            if event.id and event.id in self._seen:
                continue
            self._seen[event.id] = event.id
            event.source, event.time = "test", 1_700_000_000.0
            if event.type not in EPHEMERAL and not event.ephemeral:
                event.epoch, event.seq = self.epoch, len(self.log) + 1
                self.log.append(event)
            fresh.append(event)
        for stream in self.streams:
            for name in stream.subscriptions:
                self._deliver(stream, name, fresh)

    async def _send(self, stream: Stream, frame: pb.ConnectRequest) -> None:
        send = frame.send
        key = send.idempotency_key or f"none-{len(self.runs)}"
        if send.agent == "nobody":
            error = Refusal(grpc.StatusCode.NOT_FOUND, "AGENT_NOT_FOUND", "there is no agent 'nobody'")
            stream.say(request_id=frame.request_id, rejected=pb.Rejected(error=error.frame()))
            return
        if key not in self._replies:
            self._replies[key] = f"you said: {send.text}"
            self.runs.append(key)
        stream.say(request_id=frame.request_id, accepted=pb.Accepted(execution_id=f"x-{key}", message_id=f"m-{key}"))
        if self._cut_at("send_accepted", stream):
            return
        text = self._replies[key]
        if send.partial_replies:
            size = 4 if len(self.hellos) == 1 else 3  # after a cut the pieces have other borders
            for at in range(0, len(text), size):
                reply = pb.Reply(execution_id=f"x-{key}", content=text[at : at + size], offset=at)
                stream.say(request_id=frame.request_id, reply=reply)
                if self.cuts.pop("partial", 0):
                    stream.out.put_nowait(None)  # what was said so far arrives, then the stream ends
                    return
        await self.answer_gate.wait()
        if send.agent == "broken":
            error = Refusal(grpc.StatusCode.ABORTED, "EXECUTION_FAILED", "the model did not answer")
            final = pb.Reply(final=True, state=execution_pb2.EXECUTION_STATE_FAILED, error=error.frame())
        else:
            final = pb.Reply(final=True, content=text, state=execution_pb2.EXECUTION_STATE_SUCCEEDED)
        final.execution_id, final.message_id = f"x-{key}", f"m-{key}"
        stream.say(request_id=frame.request_id, reply=final)

    async def _trigger(self, stream: Stream, frame: pb.ConnectRequest) -> None:
        trigger = frame.trigger
        key, known = trigger.idempotency_key, trigger.idempotency_key in self.runs
        if not known:
            self.runs.append(key)
        ids = {"execution_id": f"x-{key}", "message_id": f"m-{key}"}
        if self._cut_at("trigger_stored", stream):
            return
        stream.say(request_id=frame.request_id, accepted=pb.Accepted(**ids, duplicate=known))
        if trigger.no_reply:
            return
        if self.cuts.pop("trigger_accepted", 0):
            stream.out.put_nowait(None)  # that arrives, then the stream ends
            return
        await self.answer_gate.wait()
        reply = self.answers.get("trigger")
        assert isinstance(reply, pb.Reply)
        final = pb.Reply(**ids, final=True)
        final.MergeFrom(reply)
        stream.say(request_id=frame.request_id, reply=final)

    def _topics(self, stream: Stream, frame: pb.ConnectRequest) -> None:
        """Answered at once, unless a test cuts in between."""
        try:
            answer = self.push.take(stream.client_id, frame)
        except Refusal as refusal:
            stream.say(request_id=frame.request_id, rejected=pb.Rejected(error=refusal.frame()))
            return
        if self._cut_at(f"did_{frame.WhichOneof('frame')}", stream):
            return
        stream.say(request_id=frame.request_id, accepted=answer)
        if frame.HasField("join_topic"):
            self.push.redeliver(stream.client_id, frame.join_topic.topic)

    def _cancel(self, stream: Stream, frame: pb.ConnectRequest) -> None:
        self.requests.append(("cancel", frame.cancel))
        stream.say(request_id=frame.request_id, accepted=pb.Accepted(existed=True))

    def _ping(self, stream: Stream, frame: pb.ConnectRequest) -> None:
        stream.say(request_id=frame.request_id, pong=pb.Pong())
