"""What calls and frames share when they act on executions."""

from typing import Any

import pytest

from gatewayd.access.principals import Principal
from gatewayd.access.rates import Rates
from gatewayd.access.scopes import Scopes
from gatewayd.config.model import LimitsSection
from gatewayd.conversation.controlling import Controlling
from gatewayd.core.controls import Cancel, InjectInput, Pause, Resume
from gatewayd.core.errors import LimitExceeded
from gatewayd.testing.fakes import FakeClock


class FakeControls:
    """Does everything."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []

    async def cancel(self, *what: Any) -> None:
        self.done.append(("cancel", *what))

    async def pause(self, *what: Any) -> str:
        self.done.append(("pause", *what))
        return "live"

    async def resume(self, *what: Any) -> None:
        self.done.append(("resume", *what))

    async def give_input(self, *what: Any) -> None:
        self.done.append(("input", *what))


class FakeRouter:
    def __init__(self) -> None:
        self.controls = FakeControls()


async def test_what_queues_again_has_one_rate_whichever_way_it_comes():
    """Cancelling and pausing give the gateway less to do: they are never refused for coming fast."""
    router: Any = FakeRouter()
    rates = Rates(lambda: LimitsSection(send_rate=2), FakeClock())
    calls, frames = (Controlling(router=router, rates=rates) for _ in range(2))
    ann, bob = Principal("ann", Scopes.parse(["runtime:*"])), Principal("bob", Scopes.parse(["runtime:*"]))

    await frames.act(InjectInput("r1", "x1", "node", "Ann"), ann)
    await calls.act(Resume("", "x1", "now"), ann)
    for act in (calls, frames):
        with pytest.raises(LimitExceeded):
            await act.act(InjectInput("r2", "x1"), ann)
        with pytest.raises(LimitExceeded):
            await act.act(Resume("r3", "x1"), ann)
    assert await frames.act(Pause("r4", "x1", "why"), ann) == "live"
    await frames.act(Cancel("r5", "x1", "enough"), ann)
    await frames.act(Resume("r6", "x2"), bob)

    done = [(what, *rest[:-1], getattr(rest[-1], "principal", rest[-1])) for what, *rest in router.controls.done]
    assert [one[0] for one in done] == ["input", "resume", "pause", "cancel", "resume"]
    assert done[0] == ("input", "x1", "node", "Ann", ann)
    assert (done[2][-1], done[3][-1]) == ("why", "enough")
