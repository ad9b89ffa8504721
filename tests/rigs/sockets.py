"""A house with a WebSocket door, and connections to it that are made or refused."""

from typing import Any

import aiohttp
import pytest

from tests.rigs.house import House
from tests.rigs.websocket import RawSocket, http_port

PAGE = "https://chat.example.com"
CONFIG = f"""
gateway:
  http: {{port: 0, websocket: true, origins: ["{PAGE}"]}}
  max_connections: 300
  limits: {{streams_per_client: 250, message_bytes: 256KiB, metadata_bytes: 4KiB}}
agents:
  echo: {{model: offline/echo}}
  slow: {{model: offline/slow}}
"""


def socket(rig: House, **more: Any) -> RawSocket:
    """A connection of the client `default`."""
    return RawSocket(http_port(rig.daemon), token=rig.daemon.token, **more)


async def refused(port: int, **more: Any) -> tuple[int, dict[str, str]]:
    """Status and headers of an upgrade that is refused."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        async with RawSocket(port, **more):
            pass
    return error.value.status, dict(error.value.headers or {})
