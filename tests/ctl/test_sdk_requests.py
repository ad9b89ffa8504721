"""Requests by events at the moments that no daemon can be made to hit."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gatewayctl.client import DeadlineExceeded, Event
from gatewayctl.sdk import publisher
from gatewayctl.sdk.awaited import Awaited
from gatewayctl.sdk.publisher import Publisher
from gatewayctl.sdk.requests import Requests


class Asker(Requests):
    """A client whose publisher takes everything and says nothing."""

    def __init__(self) -> None:
        self.client_id = "asker"
        self._awaited = Awaited("asker")
        self._ids = SimpleNamespace(new=lambda: "new")
        self._publisher = self

    def _need_open(self) -> None:
        """It is."""

    async def put(self, _events: object, _outcome: object) -> None:
        """It may be on its way."""


async def test_an_answer_that_comes_as_the_time_ends_is_given() -> None:
    """It was taken from what is addressed, so it is nowhere else."""
    asker: Any = Asker()
    answer = Event(id="a", target="asker", correlation_id="new")
    took: list[bool] = []
    asyncio.get_running_loop().call_soon(lambda: took.append(asker._awaited.take(answer)))

    assert await asker.request(Event(target="other"), timeout=0) is answer
    assert took == [True]
    assert len(asker._awaited) == 0


async def test_an_answer_that_comes_as_the_request_is_cancelled_is_not_taken() -> None:
    """So it is addressed."""
    asker: Any = Asker()
    asking = asyncio.create_task(asker.request(Event(target="other")))
    await asyncio.sleep(0)
    asking.cancel()

    assert not asker._awaited.take(Event(id="a", target="asker", correlation_id="new"))
    await asyncio.wait([asking])
    assert asking.cancelled()
    assert len(asker._awaited) == 0


async def test_time_ends_also_for_what_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be sent, and no more may wait for it."""
    monkeypatch.setattr(publisher, "MAX_WAITING_BYTES", 1)
    asker: Any = Asker()
    asker._publisher = Publisher(asker, asker._ids)
    first = asyncio.create_task(asker.request(Event(target="other", correlation_id="first"), timeout=None))
    await asyncio.sleep(0)

    async with asyncio.timeout(60):
        with pytest.raises(DeadlineExceeded):
            await asker.request(Event(target="other"), timeout=0.01)
    assert not first.done()
    first.cancel()
    await asyncio.wait([first])


async def test_a_client_that_closes_does_not_wait_for_a_question_that_nobody_asks_any_more() -> None:
    """It was not sent, and is not sent any more."""
    asker: Any = Asker()
    asker._publisher = Publisher(asker, asker._ids)
    with pytest.raises(DeadlineExceeded):
        await asker.request(Event(target="other"), timeout=0)

    async with asyncio.timeout(60):
        await asker._publisher.flush()
