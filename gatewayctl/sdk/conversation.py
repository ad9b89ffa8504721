"""Keeping one link open: dial, hello, welcome; when it is lost, wait a little and dial again.

What belongs to a link ends with it. Requests, publishes and subscriptions outlive it: they ask for the next link and
say what they have to say again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.sdk.errors import (
    ClientClosed,
    ConnectionReplaced,
    GatewayError,
    InvalidArgument,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    from_frame,
    from_rpc,
)
from gatewayctl.sdk.link import EOF, Link, Stream
from gatewayctl.sdk.pace import Backoff
from gatewayctl.sdk.receivers import Receivers
from gatewayctl.system import Chance, Clock

PROTOCOL = 1
HANDSHAKE = 10.0
"""Seconds from dialling to the welcome."""
PARTING = 1.0
"""Seconds that the daemon may take to end a stream that we have ended."""
STEADY = 1.0
"""Seconds after which a connection counts as good, so that the next back-off begins small."""

Dial = Callable[[], tuple[Stream, Callable[[], Awaitable[None]]]]
"""Opens a stream on a connection of its own, and says how to close that."""

_FATAL = (Unauthenticated, PermissionDenied, InvalidArgument, ConnectionReplaced)
_GIVE_UP = (
    pb.RECOVERY_STEP_REAUTHENTICATE,
    pb.RECOVERY_STEP_UPGRADE_CLIENT,
    pb.RECOVERY_STEP_DO_NOT_RETRY,
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the hello says of this client."""

    client_id: str
    version: str


class _Refused(Exception):
    """The daemon will refuse the same hello again."""

    def __init__(self, error: GatewayError) -> None:
        self.error = error


class Conversation:
    """The link of now, and the waiting for it."""

    def __init__(
        self,
        dial: Dial,
        identity: Identity,
        clock: Clock,
        chance: Chance,
        receivers: Receivers,
    ) -> None:
        self.connects = 0
        """How often a welcome came."""
        self.features: frozenset[str] = frozenset()
        """What the daemon said that it can do, when it last welcomed us."""
        self.welcome = pb.Welcome()
        """The last one."""
        self.last_error: GatewayError | None = None
        """Why there is no link; None while there is one."""
        self._dial = dial
        self._identity = identity
        self._receivers = receivers
        self._clock = clock
        self._chance = chance
        self._backoff = self.new_backoff()
        self._resume_token = ""
        self._link: Link | None = None
        self._failed: GatewayError | None = None
        self._parting = False
        self._parted = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def client_id(self) -> str:
        """What the daemon knows this client by, beside its token."""
        return self._identity.client_id

    def new_backoff(self) -> Backoff:
        """For whoever tries again something of its own."""
        return Backoff(self._chance)

    def new_key(self) -> str:
        """What a request is known by when it is said again: nobody else has it."""
        return self._chance.token(16).hex()

    async def link(self) -> Link:
        """The open link, waiting for it if need be. GatewayError once the daemon has refused us for good."""
        while True:
            if self._failed is not None:
                raise self._failed
            if self._link is not None and not self._link.lost:
                return self._link
            self._changed.clear()
            await self._changed.wait()

    async def first_link(self, patience: float) -> Link:
        """The link, if it comes within `patience` seconds; else why it did not. 0 means one attempt."""
        until = self._clock.monotonic() + patience
        while True:
            left = until - self._clock.monotonic()
            try:
                async with asyncio.timeout(HANDSHAKE if left <= 0 else left):
                    while self._link is None and self._failed is None and (self.last_error is None or left > 0):
                        self._changed.clear()
                        await self._changed.wait()
            except TimeoutError:
                pass
            if self._link is not None or self._failed is not None:
                return await self.link()
            if self.last_error is not None or left <= 0:
                raise self.last_error or Unavailable("the daemon did not answer in time", code=14)

    async def run(self) -> None:
        """Keep a link open until cancelled, or until the daemon refuses this client for good."""
        try:
            while self._failed is None and not self._parting:
                wait = await self._once()
                if not self._parting:
                    await self._clock.sleep(wait)
        except _Refused as refused:
            self.fail(refused.error)
        finally:
            self._parted.set()

    async def part(self) -> None:
        """End the stream in order, so that the daemon holds nothing for us; gives up after `PARTING` seconds."""
        self._parting = True
        if self._link is None:
            return
        self._link.finish()
        try:
            async with asyncio.timeout(PARTING):
                await self._parted.wait()
        except TimeoutError:
            pass  # it will be cut, and the daemon waits for us in vain

    async def pause(self, seconds: float) -> None:
        """Wait by the client's clock."""
        await self._clock.sleep(seconds)

    def fail(self, error: GatewayError) -> None:
        """Nothing will come any more: everybody who waits gets the error."""
        self._failed = self._failed or error
        self.last_error = self._failed
        self._receivers.end(self._failed)
        if self._link is not None:
            self._link.end()
        self._changed.set()

    def closed(self) -> None:
        """The client is closing."""
        self.fail(ClientClosed("the client is closed", code=1))

    async def _once(self) -> float:
        """One connection from beginning to end; seconds to wait before the next."""
        stream, close = self._dial()
        try:
            return await self._talk(stream)
        finally:
            stream.cancel()
            await close()

    async def _talk(self, stream: Stream) -> float:
        try:
            link = await self._greet(stream)
        except GatewayError as error:
            if isinstance(error, _FATAL):
                raise _Refused(error) from None
            self._note(error)
            return self._backoff.next(error.retry_after)
        began = self._clock.monotonic()
        self.connects += 1
        self._backoff.ease()
        self._link, self.last_error, self.features = link, None, link.features
        self._changed.set()
        try:
            cause = await link.run()
        finally:
            self._link = None
        if self._clock.monotonic() - began >= STEADY:
            self._backoff.reset()
        if isinstance(cause, _FATAL):
            raise _Refused(cause)
        self._note(cause or Unavailable("the daemon has closed the connection", code=14))
        wait = link.goodbye.reconnect_after.ToTimedelta().total_seconds() if link.goodbye else None
        return self._backoff.next(wait or (cause.retry_after if cause else None))

    def _note(self, error: GatewayError) -> None:
        self.last_error = error
        self._changed.set()

    async def _greet(self, stream: Stream) -> Link:
        hello = pb.Hello(
            client_id=self._identity.client_id,
            protocol_min=PROTOCOL,
            protocol_max=PROTOCOL,
            resume_token=self._resume_token,
            client_version=self._identity.version,
            batches=True,
        )
        try:
            async with asyncio.timeout(HANDSHAKE):
                await stream.write(pb.ConnectRequest(hello=hello))
                frame = await stream.read()
        except TimeoutError:
            raise Unavailable(f"no welcome within {HANDSHAKE:g} s", code=14) from None
        except grpc.RpcError as error:
            raise _unless_torn(from_rpc(error)) from None
        except asyncio.InvalidStateError:  # the stream ended before the hello was written
            raise await _end_of(stream) from None
        if frame is EOF:
            raise await _end_of(stream)
        kind = frame.WhichOneof("frame")
        if kind == "refused":
            cause = from_frame(frame.refused.error)
            raise _Refused(cause) if frame.refused.step in _GIVE_UP else cause
        if kind != "welcome":
            raise _Refused(GatewayError(f"the daemon began with {kind} instead of a welcome", code=13))
        self.welcome, self._resume_token = frame.welcome, frame.welcome.resume_token
        return Link(stream, frame.welcome, self._clock, self.connects + 1, self._receivers)


def _unless_torn(error: GatewayError) -> GatewayError:
    """A daemon that refuses while our hello is being written hides its reason behind grpc's own word: ask again."""
    if error.code == 13 and "Internal error from Core" in error.message:
        return Unavailable("the stream ended while the hello was being written", code=14)
    return error


async def _end_of(stream: Stream) -> GatewayError:
    """Why a stream is over that was never welcomed."""
    try:
        await stream.wait_for_connection()
        code = await stream.code()
    except grpc.RpcError as error:
        return from_rpc(error)
    return Unavailable(f"the daemon ended the connection before its welcome ({code.name})", code=14)
