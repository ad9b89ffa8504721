"""One raw `Connect` stream, for stories about frames that the SDK would never send, or hides."""

import asyncio
from types import TracebackType
from typing import Any

import grpc
from gateway.v1 import error_pb2, error_reason_pb2, event_pb2
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import GatewayError
from gatewayctl.sdk.errors import from_rpc

DEADLINE = 60.0
"""Seconds in which a frame must come; generous, because machines are shared."""
METHOD = "/gateway.v1.EventService/Connect"
_EOF: Any = getattr(grpc.aio, "EOF")  # noqa: B009 - the stubs do not know it


class RawStream:
    """Frames as bytes or messages out, frames in by kind. `async with`, then `hello`."""

    def __init__(
        self, target: str, *, token: str = "", options: tuple[tuple[str, int], ...] = (), **metadata: str
    ) -> None:
        self._channel = grpc.aio.insecure_channel(
            target, options=(("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0), *options)
        )
        self._metadata = (*((("authorization", f"Bearer {token}"),) if token else ()), *metadata.items())
        self._call: Any = None
        self._requests = 0
        self._kept: list[pb.ConnectResponse] = []
        """Frames that came while another kind was waited for."""

    async def __aenter__(self) -> "RawStream":
        open_stream: Any = self._channel.stream_stream(
            METHOD, request_serializer=_as_bytes, response_deserializer=pb.ConnectResponse.FromString
        )
        self._call = open_stream(metadata=self._metadata)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    async def cut(self) -> None:
        """Leave without a word, as a broken network does."""
        self._call.cancel()
        await self._channel.close()

    async def write(self, frame: pb.ConnectRequest | bytes) -> None:
        await self._call.write(frame)

    async def hello(
        self, client_id: str = "raw", token: str = "", *, low: int = 1, high: int = 1, **more: bool
    ) -> pb.Welcome:
        """Say hello, and be welcomed."""
        await self.write(
            pb.ConnectRequest(
                hello=pb.Hello(client_id=client_id, protocol_min=low, protocol_max=high, resume_token=token, **more)
            )
        )
        return (await self.take("welcome")).welcome

    async def ask(self, frame: pb.ConnectRequest) -> str:
        """Send a request under a fresh id, which is returned."""
        self._requests += 1
        frame.request_id = frame.request_id or f"r{self._requests}"
        await self.write(frame)
        return frame.request_id

    async def subscribe(self, name: str, filter: event_pb2.EventFilter | None = None, **more: Any) -> pb.Accepted:  # noqa: A002
        """Subscribe, and wait until it is accepted."""
        wanted = filter or event_pb2.EventFilter(all_types=True)
        subscribe = pb.Subscribe(subscription_id=name, filter=wanted, **more)
        return await self.accepted(await self.ask(pb.ConnectRequest(subscribe=subscribe)))

    async def accepted(self, request_id: str) -> pb.Accepted:
        """The answer to a request that must be taken."""
        frame = await self.answer(request_id)
        assert frame.HasField("accepted"), frame
        return frame.accepted

    async def rejected(self, request_id: str) -> error_pb2.Error:
        """The error of a request that must be refused."""
        frame = await self.answer(request_id)
        assert frame.HasField("rejected"), frame
        return frame.rejected.error

    async def answer(self, request_id: str) -> pb.ConnectResponse:
        return await self._next(
            lambda frame: frame.request_id == request_id and frame.WhichOneof("frame") in ("accepted", "rejected")
        )

    async def take(self, *kinds: str, timeout: float = DEADLINE) -> pb.ConnectResponse:
        """The next frame of one of these kinds; `addressed` is a delivery to the client itself."""
        return await self._next(lambda frame: kind_of(frame) in kinds, timeout)

    async def _next(self, fits: Any, timeout: float = DEADLINE) -> pb.ConnectResponse:
        for place, frame in enumerate(self._kept):
            if fits(frame):
                return self._kept.pop(place)
        async with asyncio.timeout(timeout):
            while (frame := await self._call.read()) is not _EOF:
                if fits(frame):
                    return frame
                self._kept.append(frame)
        raise AssertionError(f"the stream ended with {await self._call.code()}: {await self._call.details()}")

    async def half_close(self) -> None:
        await self._call.done_writing()

    async def ended(self, *, timeout: float = DEADLINE) -> GatewayError | None:
        """How the stream ends, frames that still come being dropped; None for OK."""
        try:
            async with asyncio.timeout(timeout):
                while await self._call.read() is not _EOF:
                    pass
                await self._call.wait_for_connection()
                code = await self._call.code()
        except grpc.RpcError as error:
            return from_rpc(error)
        return None if code is grpc.StatusCode.OK else GatewayError(str(await self._call.details()), code=code.value[0])


def kind_of(frame: pb.ConnectResponse) -> str:
    """`welcome`, `delivery`, `addressed`, …"""
    if frame.HasField("delivery") and not frame.delivery.subscription_ids:
        return "addressed"
    return frame.WhichOneof("frame") or ""


def reason_of(error: error_pb2.Error) -> str:
    """`ID_CONFLICT`, …"""
    return error_reason_pb2.ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")


def _as_bytes(frame: pb.ConnectRequest | bytes) -> bytes:
    return frame if isinstance(frame, bytes) else frame.SerializeToString()
