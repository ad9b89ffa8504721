"""A client of the fake gateway whose back-off is short and without jitter."""

from gatewayctl.client import Client
from gatewayctl.system import SystemClock
from tests.ctl.fake_gateway import FakeGateway


class SteadyChance:
    """No jitter; tokens count up."""

    def __init__(self) -> None:
        self.count = 0

    def fraction(self) -> float:
        return 0.0

    def token(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")


class HastyClock(SystemClock):
    """Waits a hundredth of what it is told, so that a back-off does not hold up a test."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 100)


def client_of(gateway: FakeGateway, **options: object) -> Client:
    return Client(gateway.address, client_id="tester", clock=HastyClock(), chance=SteadyChance(), **options)  # type: ignore[arg-type]
