"""A daemon for the stories about events."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.rigs.house import House, house

CONFIG = """
agents: {echo: {model: offline/echo}}
bus: {history: {max_events: 100000}}
"""


@pytest.fixture(scope="session")
def config() -> str:
    """A log that is long enough for all of them."""
    return CONFIG


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory, config: str) -> AsyncIterator[House]:
    """One daemon for all stories of a file."""
    async with house(tmp_path_factory.mktemp("events"), config) as rig:
        yield rig
