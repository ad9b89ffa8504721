"""Who gets what the links of a client bring that is nobody's answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.v1 import event_service_pb2 as pb

from gatewayctl.sdk.awaited import Awaited
from gatewayctl.sdk.errors import GatewayError

if TYPE_CHECKING:
    from gatewayctl.sdk.link import Link

__all__ = ["Receivers"]


@dataclass(frozen=True, slots=True)
class Receivers:
    """Of one client, over all its links."""

    awaited: Awaited
    """Gets the events that answer requests."""
    addressed: Callable[[pb.ConnectResponse], None]
    """Gets what is for the client itself; must not wait."""
    topics: Callable[[Link, pb.ConnectResponse], Awaitable[None]]
    """Gets what topics bring, and may hold up the link."""
    ended: Callable[[GatewayError], None]
    """Told when nothing will come any more, and why."""

    def end(self, error: GatewayError) -> None:
        """Nothing will come any more."""
        self.awaited.fail(error)
        self.ended(error)
