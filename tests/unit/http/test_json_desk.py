"""Large frames in JSON: whoever sends them waits for others who do, and holds up nobody else."""

import asyncio
import threading

import pytest
from gateway.v1 import event_service_pb2 as pb

from gatewayd.http import json_desk
from gatewayd.http.json_desk import JsonDesk

LARGE = "x" * 20_000


async def test_what_is_read_slowly_holds_up_other_large_frames_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go = threading.Event(), threading.Event()
    read: list[str] = []

    def slowly(text: str, most: int) -> bytes:
        read.append(text[:1])
        if text == LARGE:
            begun.set()
            assert go.wait(60)
        return b"read"

    monkeypatch.setattr(json_desk, "request_from_json", slowly)
    desk = JsonDesk(lambda: 1000)
    first = asyncio.create_task(desk.read(LARGE))
    await asyncio.to_thread(begun.wait, 60)
    second = asyncio.create_task(desk.read("y" + LARGE))
    delivery = pb.ConnectResponse(delivery=pb.Delivery(cursor=LARGE)).SerializeToString()

    async with asyncio.timeout(60):
        assert await desk.read("small") == b"read"
        assert LARGE in await desk.write(delivery)
        assert read == ["x", "s"]
        go.set()
        assert await asyncio.gather(first, second) == [b"read", b"read"]
