from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from leaving_rig import Steps, house
from state_rig import Rig

from gatewayd.testing.store_cases import samples
from tests.rigs.middle import Middle


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Middle, Steps]]:
    middle, steps = house(tmp_path)
    async with middle:
        yield middle, steps


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path / "db")
    await rig.store.open()
    rig.bus.attach(rig.store)
    for number in (1, 2):
        await rig.store.accept(samples.acceptance(number, record=samples.session()))
    yield rig
    await rig.state.stop()
    await rig.tasks.close()
    await rig.store.close()
