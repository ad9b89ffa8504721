"""One `Connect` conversation over the load's own HTTP/2."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from gateway.internal.v1 import frames_pb2 as twin
from gateway.v1 import event_pb2, event_service_pb2

from bench.events.envelope import varint
from bench.events.h2 import Stream
from bench.processes import WrongAnswer

ANSWER = 60.0
"""Seconds that an answer to a request may take."""
DELIVERY = 0x32
"""First byte of a frame that carries events."""


class Talk:
    """One `Connect` stream: requests are answered by id, frames of events go to whoever took them."""

    def __init__(self, stream: Stream, name: str) -> None:
        self._stream = stream
        self._name = name
        self._requests = 0
        self._answers: dict[str, asyncio.Future[event_service_pb2.Accepted]] = {}
        self.on_delivery: Callable[[bytes], None] = self._unexpected
        self.on_last_word: Callable[[event_service_pb2.ConnectResponse], None] = self._last_word
        self.welcome: event_service_pb2.Welcome | None = None

    async def hello(self, resume_token: str = "") -> None:
        """Open the conversation."""
        welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def first(message: bytes) -> None:
            frame = event_service_pb2.ConnectResponse.FromString(message)
            if not frame.HasField("welcome"):
                raise WrongAnswer(f"hello was answered with {frame}")
            self.welcome = frame.welcome
            self._stream.on_message = self.on_message
            welcomed.set_result(None)

        self._stream.on_message = first
        hello = event_service_pb2.Hello(client_id=self._name, protocol_max=1, resume_token=resume_token)
        self._stream.send(event_service_pb2.ConnectRequest(hello=hello).SerializeToString())
        await self._first(welcomed)
        self._stream.ended.add_done_callback(self._cut)

    async def _first(self, future: "asyncio.Future[None]") -> None:
        async with asyncio.timeout(ANSWER):
            await asyncio.wait((future, self._stream.ended), return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise WrongAnswer(f"the stream of {self._name} ended: {self._stream.ended.result()}")

    def _cut(self, ended: "asyncio.Future[tuple[int, str]]") -> None:
        if not self._stream.closed:
            raise WrongAnswer(f"the stream of {self._name} ended: {ended.result()}")

    def request(self, **frame: Any) -> "asyncio.Future[event_service_pb2.Accepted]":
        """Send a request; its answer comes later."""
        request, answer = self._asked(**frame)
        self._stream.send(request.SerializeToString())
        return answer

    async def together(self, frames: Sequence[dict[str, Any]]) -> None:
        """Send requests in one frame, and wait for their answers."""
        asked = [self._asked(**frame) for frame in frames]
        batch = event_service_pb2.RequestBatch(requests=[request for request, _ in asked])
        self._stream.send(event_service_pb2.ConnectRequest(batch=batch).SerializeToString())
        async with asyncio.timeout(ANSWER):
            await asyncio.gather(*(answer for _, answer in asked))

    def _asked(
        self, **frame: Any
    ) -> "tuple[event_service_pb2.ConnectRequest, asyncio.Future[event_service_pb2.Accepted]]":
        self._requests += 1
        request_id = str(self._requests)
        answer = self._answers[request_id] = asyncio.get_running_loop().create_future()
        return event_service_pb2.ConnectRequest(request_id=request_id, **frame), answer

    async def subscribe(
        self, name: str, selection: event_pb2.EventFilter, *, since: str = "", buffer_bytes: int = 0
    ) -> str:
        """Subscribe; the cursor where it starts."""
        subscribe = event_service_pb2.Subscribe(
            subscription_id=name, filter=selection, since=since, buffer_bytes=buffer_bytes
        )
        async with asyncio.timeout(ANSWER):
            return (await self.request(subscribe=subscribe)).cursor

    async def unsubscribe(self, name: str) -> None:
        """End a subscription."""
        self.on_last_word = lambda _frame: None
        async with asyncio.timeout(ANSWER):
            await self.request(unsubscribe=event_service_pb2.Unsubscribe(subscription_id=name))

    def publish(self, entries: Sequence[bytes]) -> "asyncio.Future[event_service_pb2.Accepted]":
        """Publish encoded events, each with the tag and length that it has in a frame."""
        self._requests += 1
        request_id = str(self._requests)
        answer = self._answers[request_id] = asyncio.get_running_loop().create_future()
        events = b"".join(entries)
        head = request_id.encode()
        self._stream.send(b"\x0a" + bytes((len(head),)) + head + b"\x2a" + varint(len(events)) + events)
        return answer

    def on_message(self, message: bytes) -> None:
        """A frame of the server."""
        if message[0] == DELIVERY:
            self.on_delivery(message)
            return
        frame = event_service_pb2.ConnectResponse.FromString(message)
        kind = frame.WhichOneof("frame")
        if kind == "accepted":
            answer = self._answers.pop(frame.request_id)
            if not answer.done():
                answer.set_result(frame.accepted)
        elif kind == "rejected":
            raise WrongAnswer(f"{self._name}: refused: {frame.rejected.error}")
        elif kind == "delivery":
            self.on_delivery(message)
        elif kind != "progress":
            self.on_last_word(frame)

    def _last_word(self, frame: event_service_pb2.ConnectResponse) -> None:
        raise WrongAnswer(f"{self._name} was told {frame}")

    def _unexpected(self, message: bytes) -> None:
        if twin.ConnectResponse.FromString(message).delivery.subscription_ids:
            raise WrongAnswer(f"{self._name} got events that it did not ask for")
