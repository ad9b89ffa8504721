"""One helper for each type of event that a client may publish, so that its data is checked where it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from gateway.v1 import event_pb2

from gatewayctl.events import new_event

__all__ = ["Emits"]


class _Publishes(Protocol):
    async def publish(self, events: event_pb2.Event | Iterable[event_pb2.Event]) -> str: ...

    async def announce(self, events: event_pb2.Event | Iterable[event_pb2.Event]) -> int: ...


class Emits:
    """A part of `Client`. `envelope` is `topic`, `session_id`, `target`, `correlation_id` and so on; ValueError says
    what does not fit. Each returns the cursor once the event is on disk, where it is durable."""

    async def emit_message(
        self: _Publishes,
        content: str,
        *,
        parts: Mapping[str, Any] | None = None,
        sender: str = "",
        reply_to: str = "",
        **envelope: Any,
    ) -> str:
        """Something was said: `sender` names who, `reply_to` the message that it answers. Durable."""
        data = {"content": content, "parts": dict(parts or {}), "sender": sender, "reply_to": reply_to}
        return await self.publish(new_event("message", data, **envelope))

    async def emit_error(self: _Publishes, reason: str, message: str = "", **envelope: Any) -> str:
        """Something went wrong: `reason` is for programs, `message` for people. Durable."""
        return await self.publish(new_event("error", {"reason": reason, "message": message}, **envelope))

    async def emit_broadcast(self: _Publishes, content: str, **envelope: Any) -> str:
        """As `broadcast`, without its count. Ephemeral."""
        return await self.publish(new_event("broadcast", {"content": content}, **envelope))

    async def emit_custom(
        self: _Publishes,
        custom_type: str,
        data: Mapping[str, Any] | None = None,
        *,
        ephemeral: bool = False,
        **envelope: Any,
    ) -> str:
        """An event of a type of your own. Durable, unless it is said to be ephemeral."""
        return await self.publish(new_event("custom", data, custom_type=custom_type, ephemeral=ephemeral, **envelope))

    async def broadcast(self: _Publishes, content: str, **envelope: Any) -> int:
        """Tell every client that is connected and may see it, this one included, and return how many that are."""
        return await self.announce(new_event("broadcast", {"content": content}, **envelope))
