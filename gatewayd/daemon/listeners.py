"""What the gateway listens on: gRPC always, HTTP if a door behind it is open."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gatewayd.access.gate import Gate
from gatewayd.config.model import GatewayConfig, GatewaySection
from gatewayd.conversation.hub import ConversationHub
from gatewayd.core.clock import Clock
from gatewayd.daemon.options import Options
from gatewayd.push.service import Push
from gatewayd.rpc.server import Listen

if TYPE_CHECKING:
    from gatewayd.http.server import HttpServer


def rpc_listen(options: Options, config: GatewayConfig) -> Listen:
    """Where gRPC listens, and with which bounds."""
    gateway = config.gateway
    return Listen(
        host=gateway.host,
        port=gateway.port,
        socket=Path(gateway.socket) if gateway.socket else options.paths.socket,
        message_bytes=gateway.limits.message_bytes,
        metadata_bytes=gateway.limits.metadata_bytes,
    )


def http_server(
    config: GatewayConfig,
    *,
    hub: ConversationHub,
    push: Push,
    gate: Gate,
    settings: Callable[[], GatewaySection],
    draining: Callable[[], bool],
    is_serving: Callable[[], bool],
    clock: Clock,
) -> "HttpServer | None":
    """The listener with the routes of every open door; None when none is."""
    http = config.gateway.http
    if not config.opens_http:
        return None
    # aiohttp costs time and memory: only those who listen pay it.
    from gatewayd.http.polling import PollingDoor  # noqa: PLC0415
    from gatewayd.http.server import HttpServer  # noqa: PLC0415
    from gatewayd.http.websocket import WebSocketDoor  # noqa: PLC0415

    server = HttpServer(host=http.host, port=http.port, settings=settings, is_serving=is_serving, clock=clock)
    if http.websocket:
        door = WebSocketDoor(hub=hub, gate=gate, settings=settings, draining=draining, clock=clock)
        for route in door.routes():
            server.add(route)
    if config.push.polling.http:
        for route in PollingDoor(push=push, gate=gate).routes():
            server.add(route)
    return server
