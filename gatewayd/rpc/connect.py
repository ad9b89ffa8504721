"""`EventService.Connect` over gRPC: a receive loop and a send loop around a conversation.

Frames pass as bytes: the conversation reads and writes them with `wire`, so gRPC never makes a message of them.
"""

import asyncio
import logging

from grpc import aio

from gatewayd.access.principals import Principal
from gatewayd.conversation.conversation import Conversation
from gatewayd.conversation.hub import ConversationHub
from gatewayd.core.clock import Clock
from gatewayd.core.errors import DeadlineExceeded, GatewayError, SlowConsumer
from gatewayd.core.frames import EndReason
from gatewayd.rpc.guard import Context, Guard

log = logging.getLogger("gatewayd.rpc")

METHOD = "/gateway.v1.EventService/Connect"
WRITE_LIMIT = 10.0
"""Seconds that one write may wait for a reader that does not read; then the stream is cut."""
CUT_GRACE = 0.05
"""Seconds after the end of the client's frames in which it may turn out that it was cut off: that cancels the call."""
HELLO_LIMIT = 10.0
"""Seconds in which a stream must have said hello: until then it takes one of `gateway.max_connections` for nobody."""


class ConnectHandler:
    """Serves the bidirectional stream."""

    def __init__(self, hub: ConversationHub, guard: Guard, clock: Clock) -> None:
        self._hub = hub
        self._guard = guard
        self._clock = clock

    async def serve(self, _requests: object, context: Context) -> None:
        """The gRPC handler (reader-writer style)."""

        async def run(principal: Principal) -> None:
            conversation = self._hub.open(principal, context.peer())
            reason: EndReason | None = EndReason.CONNECTION_LOST
            try:
                if await self._drive(conversation, context):
                    await self._clock.sleep(CUT_GRACE)
                    reason = None
            except SlowConsumer:
                reason = EndReason.SLOW_CONSUMER
                raise
            finally:
                await asyncio.shield(self._hub.leave(conversation, reason))
            if conversation.error is not None:
                raise conversation.error

        await self._guard.conversation(METHOD, context, run)

    async def _drive(self, conversation: Conversation, context: Context) -> bool:
        """Whoever ends first ends the other; both are awaited. Whether it was the client that ended it, in order."""
        reader = asyncio.create_task(self._read(conversation, context), name="connect: read")
        try:
            while (data := await conversation.next_frame()) is not None:
                try:
                    async with self._clock.timeout(WRITE_LIMIT):
                        await context.write(data)
                except TimeoutError:
                    raise SlowConsumer("the client did not read for ten seconds", retry_after=1.0) from None
        except aio.UsageError:
            log.debug("write_after_end", extra={"client": conversation.client_id})
        finally:
            reader.cancel()
            (half_closed,) = await asyncio.gather(reader, return_exceptions=True)
        return half_closed is True

    async def _read(self, conversation: Conversation, context: Context) -> bool:
        """Hand frames over until the client half-closes; False if an error ends the conversation before."""
        try:
            try:
                async with self._clock.timeout(HELLO_LIMIT):
                    going = await _take(conversation, context)
            except TimeoutError:
                raise DeadlineExceeded(f"no hello came within {HELLO_LIMIT:g} s", retry_after=1.0) from None
            while going:
                going = await _take(conversation, context)
        except GatewayError as error:
            conversation.end(error)
            return False
        return True


async def _take(conversation: Conversation, context: Context) -> bool:
    """Hand one frame over; False once the client has half-closed."""
    data = await context.read()
    if data is aio.EOF:  # type: ignore[attr-defined]  # grpc-stubs leaves it out
        conversation.end(None)
        return False
    await conversation.receive(data)
    return True
