from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from leaving_rig import Steps, house

from tests.rigs.middle import Middle


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Middle, Steps]]:
    middle, steps = house(tmp_path)
    async with middle:
        yield middle, steps
