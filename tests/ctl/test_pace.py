"""How long a client stays away from a daemon that is, or was, in trouble."""

import asyncio

import pytest

from gatewayctl.client import Client
from gatewayctl.sdk.pace import EASED, Backoff
from gatewayctl.system import SystemClock
from tests.ctl.fake_gateway import FakeGateway

pytestmark = pytest.mark.usefixtures("quiet_environment")
CRASHES = 9


class NoJitter:
    """The longest wait of every step."""

    def fraction(self) -> float:
        return 1.0

    def token(self, size: int) -> bytes:
        return bytes(size)


class Notebook(SystemClock):
    """Keeps what a client was told to wait, and waits nothing; a connection never lasts."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        if seconds == 15.0:  # the watch for silence
            await asyncio.Event().wait()
        self.waits.append(seconds)
        await asyncio.sleep(0)


def test_nobody_there_doubles_to_half_a_minute() -> None:
    backoff = Backoff(NoJitter())

    assert [backoff.next() for _ in range(11)] == pytest.approx([0.1 * 2**step for step in range(9)] + [30.0, 30.0])


def test_a_welcome_after_a_long_absence_makes_the_next_wait_short() -> None:
    backoff = Backoff(NoJitter())
    for _ in range(30):
        backoff.next()

    backoff.ease()

    assert backoff.next() == pytest.approx(EASED)
    assert backoff.next() == pytest.approx(2 * EASED)
    assert backoff.next(at_least=60.0) >= 60.0


def test_a_welcome_makes_no_wait_longer() -> None:
    backoff = Backoff(NoJitter())

    backoff.ease()

    assert backoff.next() == pytest.approx(0.1)


async def test_a_daemon_that_welcomes_and_crashes_again_and_again_is_missed_for_seconds_only(
    gateway: FakeGateway,
) -> None:
    gateway.on_hello = lambda _number: gateway.cuts.update(welcomed=1)
    clock = Notebook()
    client = Client(gateway.address, client_id="tester", clock=clock, chance=NoJitter())

    async with asyncio.timeout(60), client:
        while len(gateway.hellos) <= CRASHES:
            await asyncio.sleep(0.01)

    waits = clock.waits[:CRASHES]
    assert waits[:6] == pytest.approx([0.1 * 2**step for step in range(6)])
    assert max(waits) == pytest.approx(EASED)
