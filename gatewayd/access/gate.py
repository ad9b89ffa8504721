"""What every door asks before it serves: who calls, may they, and have they room.

gRPC and HTTP share one gate, so a lock-out or a bound that holds at one door holds at the other.
"""

import logging
from collections.abc import Callable

from gatewayd.access.audit import Audit
from gatewayd.access.authenticator import Authenticator, Transport
from gatewayd.access.calls import OpenCall, OpenCalls
from gatewayd.access.principals import Principal
from gatewayd.access.rules import required
from gatewayd.access.waits import Waits
from gatewayd.core.errors import GatewayError, Internal, PermissionDenied
from gatewayd.core.ids import IdSource

log = logging.getLogger("gatewayd.access")


class Gate:
    """One per gateway. Methods are named as in `rules.METHODS`, whatever the door."""

    def __init__(
        self, *, authenticator: Authenticator, audit: Audit, ids: IdSource, streams_per_client: Callable[[], int]
    ) -> None:
        self._authenticator = authenticator
        self._audit = audit
        self._ids = ids
        self._calls = OpenCalls(streams_per_client)
        self.waits = Waits()

    def admit(self, method: str, token: str | None, transport: Transport, source: str) -> Principal:
        """Who calls, if they may: `Unauthenticated`, `TooManyFailures` or `PermissionDenied` otherwise.

        `token` is None when no authorization came, and '' when it was of a form that this door does not know.
        """
        permission = required(method)
        if token == "":
            raise self._authenticator.unproven(transport, source, "'authorization' must read 'Bearer TOKEN'")
        principal = self._authenticator.authenticate(token, transport, source)
        try:
            permission.check(principal)
        except PermissionDenied as error:
            self._audit.record(principal=principal.id, action=method, decision="denied", detail=error.reason)
            raise
        return principal

    def refused(self, principal: Principal, method: str, error: GatewayError) -> None:
        """The call of somebody who was admitted ended with this error: audited if a right was lacking."""
        self._audit.refused(principal.id, method, error)

    def call(self) -> OpenCall:
        """A call that has just come, and counts for nobody yet."""
        return OpenCall(self._calls)

    def counted(self, principal: Principal) -> OpenCall:
        """A call that counts for its caller; see `OpenCall.count`."""
        call = self.call()
        call.count(principal)
        return call

    def incident(self, method: str) -> Internal:
        """The error for a handler that crashed: the log gets the traceback, the caller the id under which it stands."""
        incident = self._ids.new()
        log.exception("handler_crashed", extra={"method": method, "incident": incident})
        return Internal(
            f"the gateway failed on this call; its log says more at {incident}", metadata={"incident": incident}
        )


def bearer(authorization: str) -> str:
    """The token of an `Authorization: Bearer TOKEN`; '' for any other form."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
