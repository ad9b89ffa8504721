"""What calls and frames share when they start entry points."""

from types import SimpleNamespace
from typing import Any

import pytest

from gatewayd.access.principals import Principal
from gatewayd.access.rates import Rates
from gatewayd.access.scopes import Scopes
from gatewayd.config.model import LimitsSection
from gatewayd.conversation.triggering import Triggering
from gatewayd.core.errors import LimitExceeded
from gatewayd.core.frames import Trigger
from gatewayd.testing.fakes import FakeClock


class FakeRouter:
    """Takes everything."""

    def __init__(self) -> None:
        self.started: list[Any] = []

    async def accept_trigger(self, trigger: Any, caller: Any) -> Any:
        self.started.append((trigger, caller))
        return SimpleNamespace(accepted=SimpleNamespace(execution_id="e1", message_id="m1", duplicate=False))


async def test_one_client_has_one_rate_whichever_way_it_comes():
    clock, router = FakeClock(), FakeRouter()
    rates = Rates(lambda: LimitsSection(send_rate=3), clock)
    calls, frames = (Triggering(router=router, rates=rates, clock=clock) for _ in range(2))
    ann, bob = Principal("ann", Scopes.parse(["runtime:*"])), Principal("bob", Scopes.parse(["runtime:*"]))
    wanted = Trigger("r1", "ask", "hello", timeout=5.0)

    await calls.start(wanted, ann)
    await frames.start(wanted, ann)
    await calls.start(wanted, ann)
    with pytest.raises(LimitExceeded) as refused:
        await frames.start(wanted, ann)
    await frames.start(wanted, bob)
    await clock.advance((refused.value.retry_after or 0.0) + 0.01)
    _, waiting = await frames.submit(wanted, ann)

    assert len(router.started) == 5
    assert {(trigger.principal, caller.principal.id) for trigger, caller in router.started} == {
        ("ann", "ann"),
        ("bob", "bob"),
    }
    assert (waiting.request_id, waiting.execution_id, waiting.deadline) == ("r1", "e1", clock.monotonic() + 5.0)
