"""Streams that never say hello: seen by the operator, and ended before they fill the gateway."""

import asyncio
from pathlib import Path

import pytest
from gateway.v1 import admin_service_pb2

from gatewayd.conversation import driving
from tests.rigs.house import eventually
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
    monkeypatch.setattr(driving, "HELLO_LIMIT", 2.0)
    async with InProcess(tmp_path, CONFIG) as gateway:
        target = f"unix:{gateway.paths.socket}"
        async with (
            gateway.client("operator") as client,
            RawStream(target) as first,
            RawStream(target) as second,
            RawStream(target) as third,
        ):

            async def listed() -> bool:
                ask = admin_service_pb2.ListClientsRequest()
                answer = await client.call("AdminService/ListClients", ask, admin_service_pb2.ListClientsResponse)
                return sorted(each.client_id for each in answer.clients) == ["", "", "operator"]

            await eventually(listed)
            ends = await asyncio.gather(first.ended(), second.ended(), third.ended())
            async with RawStream(target) as fourth:
                await fourth.hello("there is room")

    assert sorted(error.reason for error in ends if error) == ["DEADLINE_EXCEEDED"] * 2 + ["LIMIT_EXCEEDED"]
