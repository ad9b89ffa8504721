"""A daemon whose agents are served by workers; each test begins with none of them there."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.rigs.house import House
from tests.rigs.working import nobody_serves, workers_house


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with workers_house(tmp_path_factory.mktemp("workers")) as rig:
        yield rig


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def alone(rig: House) -> None:
    await nobody_serves(rig)
