"""What stands before and behind every handler: who calls, may they, and how an error leaves.

Interceptors of grpc.aio see neither the peer nor the request, so each handler is wrapped here instead. A method without
a rule in `access.rules` cannot be served at all.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import grpc
from grpc import aio

from gatewayd.access.audit import Audit
from gatewayd.access.authenticator import Authenticator, Transport
from gatewayd.access.principals import Principal
from gatewayd.access.rules import Permission, required
from gatewayd.core.errors import GatewayError, Internal, LimitExceeded, PermissionDenied
from gatewayd.core.ids import IdSource
from gatewayd.wire import status_details

log = logging.getLogger("gatewayd.rpc")

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

    def __init__(
        self, *, authenticator: Authenticator, audit: Audit, ids: IdSource, streams_per_client: Callable[[], int]
    ) -> None:
        self._authenticator = authenticator
        self._audit = audit
        self._ids = ids
        self._streams_per_client = streams_per_client
        self._calls: Counter[str] = Counter()

    async def unary(self, method: str, context: Context, call: Callable[[Principal], Awaitable[_T]]) -> _T:
        """Run one unary call as its caller."""
        try:
            principal = self.admit(method, context)
            with self._counted(principal):
                return await call(principal)
        except GatewayError as error:
            await self.refuse(context, error)
        except Exception:  # the boundary of a handler: the caller gets an incident, the log the traceback
            await self.refuse(context, self._incident(method))

    async def stream(
        self, method: str, context: Context, serve: Callable[[Principal], AsyncIterator[_T]]
    ) -> AsyncIterator[_T]:
        """Run one call whose answers are a stream."""
        try:
            principal = self.admit(method, context)
            with self._counted(principal):
                async for answer in serve(principal):
                    yield answer
        except GatewayError as error:
            await self.refuse(context, error)
        except Exception:
            await self.refuse(context, self._incident(method))

    async def conversation(self, method: str, context: Context, run: Callable[[Principal], Awaitable[None]]) -> None:
        """Run one call that reads and writes for itself."""
        await self.unary(method, context, run)

    def admit(self, method: str, context: Context) -> Principal:
        """Who calls, if they may: `Unauthenticated`, `TooManyFailures` or `PermissionDenied` otherwise."""
        permission: Permission = required(method)
        transport, source = _peer(context)
        token = _token(context)
        if token == "":
            raise self._authenticator.unproven(transport, source, "metadata 'authorization' must read 'Bearer TOKEN'")
        principal = self._authenticator.authenticate(token, transport, source)
        try:
            permission.check(principal)
        except PermissionDenied as error:
            self._audit.record(principal=principal.id, action=method, decision="denied", detail=error.reason)
            raise
        return principal

    async def refuse(self, context: Context, error: GatewayError) -> NoReturn:
        """End the call with the error's code, and its reason, violations and retry delay as details."""
        await context.abort(_CODES[int(error.code)], error.message, ((DETAILS, status_details(error)),))

    @contextmanager
    def _counted(self, principal: Principal) -> Iterator[None]:
        """Hold one of `limits.streams_per_client` while the call runs.

        The principal `local` is exempt. Everybody on the unix socket shares it and has no address to be told apart by,
        so a bound would let one program shut out the operator; `gateway.max_connections` and the mode of the socket
        hold there.
        """
        limit = self._streams_per_client()
        if self._calls[principal.id] >= limit and not principal.local:
            raise LimitExceeded(
                f"client {principal.id!r} has {limit} calls open (gateway.limits.streams_per_client)",
                metadata={"limit": "streams_per_client"},
                retry_after=1.0,
            )
        self._calls[principal.id] += 1
        try:
            yield
        finally:
            self._calls[principal.id] -= 1
            if not self._calls[principal.id]:
                del self._calls[principal.id]

    def _incident(self, method: str) -> Internal:
        incident = self._ids.new()
        log.exception("handler_crashed", extra={"method": method, "incident": incident})
        return Internal(
            f"the gateway failed on this call; its log says more at {incident}", metadata={"incident": incident}
        )


def _token(context: Context) -> str | None:
    """The bearer token; None when no authorization came, '' when it is of another form."""
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
            scheme, _, token = text.partition(" ")
            return token.strip() if scheme.lower() == "bearer" else ""
    return None


def _peer(context: Context) -> tuple[Transport, str]:
    """`unix:` peers have no address; of TCP peers the address counts, not the port."""
    peer = context.peer()
    if peer.startswith("unix:"):
        return "unix", "unix"
    _, _, address = peer.partition(":")
    return "tcp", address.rpartition(":")[0]
