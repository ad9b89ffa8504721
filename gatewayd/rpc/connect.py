"""`EventService.Connect` over gRPC: the stream as a link that a conversation is driven over.

Frames pass as bytes: the conversation reads and writes them with `wire`, so gRPC never makes a message of them.
"""

from functools import partial

from grpc import aio

from gatewayd.conversation.driving import converse
from gatewayd.conversation.hub import ConversationHub
from gatewayd.core.clock import Clock
from gatewayd.rpc.guard import Context, Guard, traceparent_of

METHOD = "/gateway.v1.EventService/Connect"
CUT_GRACE = 0.05
"""Seconds after the end of the client's frames in which it may turn out that it was cut off: that cancels the call."""


class ConnectHandler:
    """Serves the bidirectional stream."""

    def __init__(self, hub: ConversationHub, guard: Guard, clock: Clock) -> None:
        self._hub = hub
        self._guard = guard
        self._clock = clock

    async def serve(self, _requests: object, context: Context) -> None:
        """The gRPC handler (reader-writer style)."""
        link = _Link(context)
        trace = traceparent_of(context)
        async with self._guard.caller(METHOD, context, partial(self._hub.hearing.out, link)) as principal:
            await converse(self._hub, principal, context.peer(), link, self._clock, traceparent=trace, grace=CUT_GRACE)


class _Link:
    __slots__ = ("read", "write")

    end: object = aio.EOF  # type: ignore[attr-defined]  # grpc-stubs leaves it out
    gone: type[Exception] = aio.BaseError

    def __init__(self, context: Context) -> None:
        self.read = context.read
        self.write = context.write
