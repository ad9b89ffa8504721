import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from connect_rig import Line
from rpc_rig import Rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path / "gateway.db")
    await rig.open()
    yield rig
    await rig.close()


@pytest.fixture
async def line(rig: Rig) -> AsyncIterator[Line]:
    line = Line(rig)
    yield line
    for task in line.tasks:
        task.cancel()
    await asyncio.gather(*line.tasks, return_exceptions=True)
    await line.hub.stop()
