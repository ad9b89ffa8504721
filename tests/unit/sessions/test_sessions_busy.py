"""Sessions and the turns that run in them: a turn that takes long keeps its conversation together."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gatewayd.testing.fakes import FakeClock
from tests.rigs.middle import Middle, message

HOUR = 3600.0


@pytest.fixture
async def middle(tmp_path: Path) -> AsyncIterator[Middle]:
    async with Middle(tmp_path) as middle:
        yield middle


def clock_of(middle: Middle) -> FakeClock:
    assert isinstance(middle.clock, FakeClock)
    return middle.clock


@pytest.mark.parametrize(
    "policy",
    [{"reset": "none"}, {"reset": "idle", "idle_minutes": 5}, {"reset": "daily", "at_hour": 9}],
    ids=["timeout", "idle", "daily"],
)
async def test_a_message_during_a_long_turn_joins_its_session(middle: Middle, policy: dict[str, Any]) -> None:
    """A running execution keeps its session alive, whatever its age: two turns never run side by side (P7.6)."""
    channel = {"platform": "sim", "routing": {"dm": "a"}, "session": policy}
    middle.use({"gateway": {"session_config": {"timeout": "1h"}}, "channels": {"chat": channel}})
    agent = middle.agents["a"]
    agent.timeout = 24 * HOUR
    await middle.router.accept_chat(message("long", 1))
    await clock_of(middle).advance(HOUR + 1)

    await middle.router.accept_chat(message("second", 2))
    await middle.sessions.expire()
    await clock_of(middle).advance(0)

    first, second = await middle.store.story("p1"), await middle.store.story("p2")
    assert first is not None
    assert second is not None
    assert first.session_id == second.session_id
    assert [turn.text for turn in agent.turns] == ["long"]
    agent.may_end.set()
    await middle.runtime.idle()
    assert [turn.text for turn in agent.turns] == ["long", "second"]
    assert [entry.content for entry in agent.turns[1].history] == ["long", "half of long"]


@pytest.mark.parametrize("persist", [True, False])
async def test_idleness_counts_from_the_end_of_a_turn(middle: Middle, persist: bool) -> None:
    """A turn that took longer than the timeout leaves a fresh session, in memory as on disk."""
    channel = {"platform": "sim", "routing": {"dm": "a"}}
    session_config = {"timeout": "1h", "persist": persist}
    middle.use({"gateway": {"session_config": session_config}, "channels": {"chat": channel}})
    agent = middle.agents["a"]
    agent.timeout = 24 * HOUR
    await middle.router.accept_chat(message("long", 1))
    await clock_of(middle).advance(2 * HOUR)
    agent.may_end.set()
    await middle.runtime.idle()
    await clock_of(middle).advance(HOUR - 1)

    expired = await middle.sessions.expire()
    await middle.router.accept_chat(message("second", 2))
    await middle.runtime.idle()

    first, second = await middle.store.story("p1"), await middle.store.story("p2")
    assert first is not None
    assert second is not None
    assert (expired, second.session_id) == (0, first.session_id)
