"""What the gateway listens on: gRPC always, HTTP if a door behind it is open."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gatewayd.access.gate import Gate
from gatewayd.config.model import GatewayConfig, GatewaySection
from gatewayd.conversation.hub import ConversationHub
from gatewayd.core.clock import Clock
from gatewayd.core.ids import IdSource
from gatewayd.core.pem import Tls
from gatewayd.daemon.options import Options
from gatewayd.daemon.web import Web
from gatewayd.push.service import Push
from gatewayd.rpc.server import Listen
from gatewayd.storage.base import Store

if TYPE_CHECKING:
    from gatewayd.http.server import HttpServer
    from gatewayd.http.webhooks.door import WebhookDoor


def rpc_listen(options: Options, config: GatewayConfig, tls: Callable[[], Tls | None]) -> Listen:
    """Where gRPC listens, and with which bounds; `tls` is what the running configuration says."""
    gateway = config.gateway
    return Listen(
        host=gateway.host,
        port=gateway.port,
        socket=Path(gateway.socket) if gateway.socket else options.paths.socket,
        message_bytes=gateway.limits.message_bytes,
        metadata_bytes=gateway.limits.metadata_bytes,
        tls=tls,
    )


def web(
    *,
    hub: ConversationHub,
    push: Push,
    gate: Gate,
    store: Store,
    ids: IdSource,
    settings: Callable[[], GatewaySection],
    draining: Callable[[], bool],
    is_serving: Callable[[], bool],
    clock: Clock,
) -> Web:
    """The listener of HTTP with its doors, none of which is made before it is needed."""
    server = partial(
        _server,
        hub=hub,
        push=push,
        gate=gate,
        settings=settings,
        draining=draining,
        is_serving=is_serving,
        clock=clock,
    )
    return Web(server=server, webhooks=partial(_webhooks, store=store, clock=clock, ids=ids, settings=settings))


def _webhooks(*, store: Store, clock: Clock, ids: IdSource, settings: Callable[[], GatewaySection]) -> "WebhookDoor":
    from gatewayd.http.webhooks.door import WebhookDoor  # noqa: PLC0415 - brings aiohttp with it

    return WebhookDoor(store=store, clock=clock, ids=ids, settings=settings)


def _server(
    config: GatewayConfig,
    *,
    hub: ConversationHub,
    push: Push,
    gate: Gate,
    settings: Callable[[], GatewaySection],
    draining: Callable[[], bool],
    is_serving: Callable[[], bool],
    clock: Clock,
) -> "HttpServer":
    """The listener with the routes of every door that stays as it is."""
    http = config.gateway.http
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
