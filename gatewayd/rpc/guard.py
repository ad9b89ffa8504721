"""What stands before and behind every handler: who calls, may they, and how an error leaves.

Interceptors of grpc.aio see neither the peer nor the request, so each handler is wrapped here instead. A method without
a rule in `access.rules` cannot be served at all.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import grpc
from grpc import aio

from gatewayd.access.authenticator import Transport
from gatewayd.access.gate import Gate, bearer
from gatewayd.access.principals import Principal
from gatewayd.core.errors import GatewayError
from gatewayd.core.tracing import checked_traceparent
from gatewayd.wire import status_details, status_message

DETAILS = "grpc-status-details-bin"
"""Trailer of the rich error model (https://grpc.io/docs/guides/error)."""

if TYPE_CHECKING:
    Context = aio.ServicerContext[Any, Any]
    Handler = grpc.GenericRpcHandler[Any, Any]
else:  # generic only in the stubs
    Context = aio.ServicerContext
    Handler = grpc.GenericRpcHandler
_T = TypeVar("_T")
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Guard:
    """Wraps handlers. One per server."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.waits = gate.waits
        """For calls that wait for long: they end with their token, or when the gateway stops."""

    async def unary(self, method: str, context: Context, call: Callable[[Principal], Awaitable[_T]]) -> _T:
        """Run one unary call as its caller."""
        with self._gate.call() as opened:
            try:
                principal = self.admit(method, context)
                opened.count(principal)
                return await self._run(method, principal, call)
            except GatewayError as error:
                await self.refuse(context, error)
            except Exception:  # the boundary of a handler: the caller gets an incident, the log the traceback
                await self.refuse(context, self._gate.incident(method))

    async def _run(self, method: str, principal: Principal, call: Callable[[Principal], Awaitable[_T]]) -> _T:
        try:
            return await call(principal)
        except GatewayError as error:
            self._gate.refused(principal, method, error)
            raise

    def caller(
        self, method: str, context: Context, before_refusal: Callable[[], Awaitable[None]]
    ) -> "AbstractAsyncContextManager[Principal, None]":
        """Who calls, for a handler that reads and writes for itself: `async with guard.caller(…) as principal`.

        How the block ends is how the call ends. `before_refusal` is called when the caller is not let in.
        """
        return _Admission(self, self._gate, method, context, before_refusal)

    async def stream(
        self, method: str, context: Context, serve: Callable[[Principal], AsyncIterator[_T]]
    ) -> AsyncIterator[_T]:
        """Run one call whose answers are a stream."""
        with self._gate.call() as opened:
            try:
                principal = self.admit(method, context)
                opened.count(principal)
                try:
                    async for answer in serve(principal):
                        yield answer
                except GatewayError as error:
                    self._gate.refused(principal, method, error)
                    raise
            except GatewayError as error:
                await self.refuse(context, error)
            except Exception:
                await self.refuse(context, self._gate.incident(method))

    def admit(self, method: str, context: Context) -> Principal:
        """Who calls, if they may: `Unauthenticated`, `TooManyFailures` or `PermissionDenied` otherwise."""
        transport, source = _peer(context)
        return self._gate.admit(method, _token(context), transport, source)

    async def refuse(self, context: Context, error: GatewayError) -> NoReturn:
        """End the call with the error's code, and its reason, violations and retry delay as details.

        Waits until the client has taken the end, or is gone. A client that does not read lets it wait behind what was
        written before, which grpc then holds for it and will not let go of: therefore the call stays among those that
        the client has open, and nobody can pile up such calls.
        """
        try:
            await context.abort(_CODES[int(error.code)], status_message(error), ((DETAILS, status_details(error)),))
        except aio.InternalError:  # the client went without taking it
            raise asyncio.CancelledError from None


class _Admission:
    """As `unary`, but without a coroutine that waits as long as the call: there are thousands of idle streams."""

    __slots__ = ("_before_refusal", "_context", "_gate", "_guard", "_method", "_opened")

    def __init__(
        self, guard: Guard, gate: Gate, method: str, context: Context, before_refusal: Callable[[], Awaitable[None]]
    ) -> None:
        self._guard = guard
        self._gate = gate
        self._method = method
        self._context = context
        self._before_refusal: Callable[[], Awaitable[None]] | None = before_refusal
        self._opened = gate.call()

    async def __aenter__(self) -> Principal:
        hear_out, self._before_refusal = self._before_refusal, None
        try:
            principal = self._guard.admit(self._method, self._context)
            self._opened.count(principal)
            return principal
        except GatewayError as error:
            if hear_out is not None:
                await hear_out()
            await self._guard.refuse(self._context, error)
        except Exception:
            await self._guard.refuse(self._context, self._gate.incident(self._method))

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        with self._opened:
            if isinstance(error, GatewayError):
                await self._guard.refuse(self._context, error)
            if isinstance(error, Exception):  # the boundary of a handler, as in `unary`
                await self._guard.refuse(self._context, self._gate.incident(self._method))


def traceparent_of(context: Context) -> str:
    """The trace that the caller says this call is a part of; '' for none, or what is none."""
    for key, value in context.invocation_metadata() or ():
        if key == "traceparent" and isinstance(value, str):
            return checked_traceparent(value)
    return ""


def _token(context: Context) -> str | None:
    """The bearer token; None when no authorization came, '' when it is of another form."""
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return bearer(value.decode("ascii", "replace") if isinstance(value, bytes) else value)
    return None


def _peer(context: Context) -> tuple[Transport, str]:
    """`unix:` peers have no address; of TCP peers the address counts, not the port."""
    peer = context.peer()
    if peer.startswith("unix:"):
        return "unix", "unix"
    _, _, address = peer.partition(":")
    return "tcp", address.rpartition(":")[0]
