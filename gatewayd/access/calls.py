"""How many calls each client has open: one client cannot take all the places."""

from collections import Counter
from collections.abc import Callable

from gatewayd.access.principals import Principal
from gatewayd.core.errors import LimitExceeded


class OpenCalls:
    """Of all clients, over all doors."""

    def __init__(self, limit: Callable[[], int]) -> None:
        """`limit` gives `gateway.limits.streams_per_client` as it is now."""
        self.limit = limit
        self.by_client: Counter[str] = Counter()


class OpenCall:
    """One call, which gives its place back at its end: `with call: call.count(principal); …`."""

    __slots__ = ("_calls", "_client")

    def __init__(self, calls: OpenCalls) -> None:
        self._calls = calls
        self._client = ""

    def count(self, principal: Principal) -> None:
        """Take one of `gateway.limits.streams_per_client` until the call ends; `LimitExceeded` when there is none.

        The principal `local` is exempt. Everybody on the unix socket shares it and has no address to be told apart by,
        so a bound would let one program shut out the operator; `gateway.max_connections` and the mode of the socket
        hold there.
        """
        limit = self._calls.limit()
        if self._calls.by_client[principal.id] >= limit and not principal.local:
            raise LimitExceeded(
                f"client {principal.id!r} has {limit} calls open (gateway.limits.streams_per_client)",
                metadata={"limit": "streams_per_client"},
                retry_after=1.0,
            )
        self._calls.by_client[principal.id] += 1
        self._client = principal.id

    def __enter__(self) -> "OpenCall":
        return self

    def __exit__(self, *_: object) -> None:
        if self._client:
            count = self._calls.by_client
            count[self._client] -= 1
            if not count[self._client]:
                del count[self._client]
