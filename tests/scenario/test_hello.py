"""Streams that never say hello: seen by the operator, and ended before they fill the gateway."""

from pathlib import Path

import pytest
from gateway.v1 import admin_service_pb2

from gatewayctl.client import LimitExceeded
from gatewayd.rpc import connect
from tests.rigs.in_process import InProcess
from tests.rigs.stream import RawStream

CONFIG = """
gateway: {max_connections: 3}
agents:
  echo: {model: offline/echo}
"""


async def test_streams_that_say_nothing_are_listed_and_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HELLO_LIMIT: DEADLINE_EXCEEDED for each, and max_connections is free again (P2.4)."""
    monkeypatch.setattr(connect, "HELLO_LIMIT", 1.0)
    async with InProcess(tmp_path, CONFIG) as gateway:
        target = f"unix:{gateway.paths.socket}"
        async with gateway.client("operator") as client, RawStream(target) as first, RawStream(target) as second:
            async with RawStream(target) as third:
                full = await third.ended()
            listed = await client.call(
                "AdminService/ListClients",
                admin_service_pb2.ListClientsRequest(),
                admin_service_pb2.ListClientsResponse,
            )
            errors = [await first.ended(), await second.ended()]
            async with RawStream(target) as fourth:
                await fourth.hello("there is room")

    assert isinstance(full, LimitExceeded)
    assert sorted(each.client_id for each in listed.clients) == ["", "", "operator"]
    assert [error.reason for error in errors if error] == ["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"]
