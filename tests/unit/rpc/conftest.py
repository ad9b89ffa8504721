from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rpc_rig import Rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path / "gateway.db")
    await rig.open()
    yield rig
    await rig.close()
