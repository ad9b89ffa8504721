"""A house with small bounds, and connections to it over each transport: all drive the same conversation."""

from collections.abc import Callable

from gatewayctl.client import Event
from tests.rigs.house import House, eventually
from tests.rigs.stream import RawStream
from tests.rigs.websocket import JSON, PROTO, RawSocket, http_port

BOUNDS = """
gateway:
  http: {port: 0, websocket: true}
  heartbeat_interval: 1s
  reconnect_timeout: 30s
  max_connections: 6
  limits: {streams_per_client: 3, message_bytes: 256KiB, metadata_bytes: 4KiB, queue_bytes: 64KiB,
           publish_rate: 200, send_rate: 20}
agents:
  echo: {model: offline/echo}
  slow: {model: offline/slow}
"""
TRANSPORTS = ("grpc", "websocket json", "websocket proto")
Raw = Callable[[House], RawStream]


def raw_over(transport: str) -> Raw:
    """Makes one more connection over one of the `TRANSPORTS`."""

    def connect(rig: House) -> RawStream:
        if transport == "grpc":
            return RawStream(rig.daemon.address)
        form = PROTO if transport == "websocket proto" else JSON
        return RawSocket(http_port(rig.daemon), token=rig.daemon.token, form=form)

    return connect


async def only_ours(rig: House) -> None:
    """Wait until the connections of the test before have been noticed to be gone."""

    async def alone() -> bool:
        return (await rig.client.status()).connections.open == 1

    await eventually(alone)


def copy_of(event: Event) -> Event:
    """Another event of the same content."""
    copy = Event()
    copy.CopyFrom(event)
    return copy
