"""Triggers at the router's door: what is written, what is refused, and what a restart takes up again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Scopes
from gatewayd.agents.base import AgentFailed
from gatewayd.core.clock import SystemClock
from gatewayd.core.errors import (
    Draining,
    EntryPointNotFound,
    GatewayError,
    IdConflict,
    InvalidArgument,
    LimitExceeded,
    PermissionDenied,
)
from gatewayd.core.event import EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.work import ExecutionState, LedgerState, Origin, Trigger
from gatewayd.routing.router import Caller
from gatewayd.routing.waiting import wait_for_end
from gatewayd.runtime import lanes
from gatewayd.runtime.entry_points import shares
from tests.rigs.middle import Middle

CONFIG: dict[str, Any] = {"entry_points": {"one": {"agent": "a", "max_concurrent": 1}, "two": {"agent": "b"}}}


@pytest.fixture
async def middle(tmp_path: Path) -> AsyncIterator[Middle]:
    async with Middle(tmp_path, CONFIG, SystemClock()) as middle:
        yield middle


def trigger(text: str = "go", entry_point: str = "one", **more: Any) -> Trigger:
    return Trigger(**({"entry_point": entry_point, "text": text, "origin": Origin.TRIGGER, "principal": "p"} | more))


async def test_it_is_one_unit_without_a_session(middle: Middle) -> None:
    """Journal, story and execution; no session, no history, and no event but those of the execution."""
    middle.agents["a"].may_end.set()
    submitted = await middle.router.accept_trigger(trigger(correlation_id="c1"))
    assert submitted.live is not None
    await submitted.live.done

    stored = await middle.store.get_execution(submitted.accepted.execution_id)
    assert stored is not None
    assert (stored.session_id, stored.entry_point, stored.correlation_id) == ("", "one", "c1")
    story = await middle.store.story(stored.id)
    assert story is not None
    assert (story.state, story.rule, story.inbound.origin) == (
        LedgerState.ANSWERED,
        "entry_points.one.agent",
        Origin.TRIGGER,
    )
    page = await middle.store.read_forward(0, EventFilter(), 99)
    assert [(event.type, event.stream_id, event.session_id) for event in page.events] == [
        (kind, "one", "")
        for kind in (EventType.EXECUTION_QUEUED, EventType.EXECUTION_STARTED, EventType.EXECUTION_COMPLETED)
    ]
    assert middle.sessions.active_count == 0
    assert middle.agents["a"].turns[0].history == ()
    assert middle.runtime.per_entry_point() == {"one": {"succeeded": 1}}


async def test_executions_of_one_entry_point_run_side_by_side(middle: Middle) -> None:
    """Without a session there is no lane that they share; only the bound of the entry point holds."""
    middle.runtime.lanes.configure(10, shares(middle.config))
    for number in range(3):
        await middle.router.accept_trigger(trigger(str(number), "two"))
        await middle.router.accept_trigger(trigger(str(number), "one"))

    counts = middle.runtime.per_entry_point()
    assert (sum(counts["one"].values()), sum(counts["two"].values())) == (3, 3)
    assert (middle.runtime.lanes.queued, middle.runtime.lanes.free, middle.runtime.lanes.busy) == (2, 6, 0)


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (trigger(entry_point="none"), EntryPointNotFound),
        (trigger(" \n"), InvalidArgument),
        (trigger("other", idempotency_key="k"), IdConflict),
        (trigger(entry_point="two", idempotency_key="k"), IdConflict),
    ],
)
async def test_what_is_refused_writes_nothing(middle: Middle, given: Trigger, verdict: type[GatewayError]) -> None:
    """By the verdict's own class; the key of another principal is another key."""
    await middle.router.accept_trigger(trigger(idempotency_key="k"))
    other = await middle.router.accept_trigger(trigger("other", idempotency_key="k", principal="q"))
    assert not other.accepted.duplicate

    with pytest.raises(verdict):
        await middle.router.accept_trigger(given)
    assert len(await middle.store.unfinished()) == 2


async def test_a_caller_needs_the_scope_of_that_entry_point(middle: Middle) -> None:
    """One that it may not start tells nothing of whether there is one."""
    caller = Caller(Principal("p", Scopes.parse(["runtime:tw*"])), "")
    await middle.router.accept_trigger(trigger(entry_point="two"), caller)
    for name in ("one", "none"):
        with pytest.raises(PermissionDenied):
            await middle.router.accept_trigger(trigger(entry_point=name), caller)


async def test_a_full_queue_and_a_stop_are_told_with_a_delay(middle: Middle, monkeypatch: pytest.MonkeyPatch) -> None:
    """LIMIT_EXCEEDED and DRAINING; both pass by themselves."""
    middle.runtime.lanes.configure(10, shares(middle.config))
    monkeypatch.setattr(lanes, "MAX_QUEUED_SHARE", 1)
    for _ in range(2):
        await middle.router.accept_trigger(trigger())
    with pytest.raises(LimitExceeded) as full:
        await middle.router.accept_trigger(trigger())
    middle.router.close()
    with pytest.raises(Draining) as stopping:
        await middle.router.accept_trigger(trigger())

    assert full.value.retry_after
    assert stopping.value.retry_after


async def test_what_comes_at_once_does_not_pass_the_bound_together(
    middle: Middle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room is kept while a unit is on its way to the disk, and given back when it is refused there."""
    middle.runtime.lanes.configure(0, shares(middle.config))
    monkeypatch.setattr(lanes, "MAX_QUEUED_SHARE", 3)
    await middle.router.accept_trigger(trigger(idempotency_key="k", text="one"))
    for key in ("k", "k"):
        with pytest.raises(IdConflict):
            await middle.router.accept_trigger(trigger(idempotency_key=key, text="another"))
    at_once = [middle.router.accept_trigger(trigger()) for _ in range(9)]

    outcomes = await asyncio.gather(*at_once, return_exceptions=True)

    assert sum(isinstance(one, LimitExceeded) for one in outcomes) == 7
    assert middle.runtime.lanes.queued == len(await middle.store.unfinished()) == 3


async def test_a_repeat_finds_the_first_even_where_there_is_no_room(
    middle: Middle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for an execution in slices, under one key, is not turned away; a new key is."""
    middle.runtime.lanes.configure(10, shares(middle.config))
    monkeypatch.setattr(lanes, "MAX_QUEUED_SHARE", 1)
    first, _ = [await middle.router.accept_trigger(trigger(idempotency_key=f"k{number}")) for number in range(2)]

    again = await middle.router.accept_trigger(trigger(idempotency_key="k0"))

    assert again.accepted.duplicate
    assert again.accepted.execution_id == first.accepted.execution_id
    with pytest.raises(LimitExceeded):
        await middle.router.accept_trigger(trigger(idempotency_key="k2"))


async def test_waiting_ends_with_the_time_the_end_or_the_daemon(middle: Middle) -> None:
    """As it is when the time is over; as it ended; DRAINING with the id when the daemon stops."""
    clock = SystemClock()
    submitted = await middle.router.accept_trigger(trigger())
    early, _ = await wait_for_end(submitted, middle.store, clock, 0.01)
    assert not early.state.terminal
    middle.agents["a"].may_end.set()
    done, _ = await wait_for_end(submitted, middle.store, clock, None)
    assert (done.state, done.output) == (ExecutionState.SUCCEEDED, "half of go")

    middle.agents["b"].may_end.clear()
    running = await middle.router.accept_trigger(trigger(entry_point="two"))
    await middle.runtime.stop()
    with pytest.raises(Draining) as stopped:
        await wait_for_end(running, middle.store, clock, None)
    assert stopped.value.metadata == {"execution_id": running.accepted.execution_id}


async def test_what_a_waiter_is_told_is_the_row(middle: Middle) -> None:
    """It is not read again, and says the same in every field: of one that succeeded, failed or was cancelled."""
    for end in ("succeed", "fail", "cancel"):
        middle.agents["a"].may_end.clear()
        middle.agents["a"].fails = AgentFailed("no luck", cause="") if end == "fail" else None
        submitted = await middle.router.accept_trigger(trigger(trace="00-" + "1" * 32 + "-" + "2" * 16 + "-01"))
        if end == "cancel":
            await middle.runtime.cancel(submitted.accepted.execution_id, "not needed")
        middle.agents["a"].may_end.set()
        told, graph = await wait_for_end(submitted, middle.store, SystemClock(), None)
        assert submitted.live is not None
        assert submitted.live.ran is not None
        assert told == await middle.store.get_execution(told.id)
        assert (told.state.terminal, graph) == (True, None)


async def test_a_restart_takes_up_its_work_with_its_bounds(tmp_path: Path) -> None:
    """Entry point, priority and bound are found again from the row."""
    async with Middle(tmp_path, CONFIG, SystemClock()) as first:
        first.runtime.lanes.configure(10, shares(first.config))
        ids = [(await first.router.accept_trigger(trigger(str(number)))).accepted.execution_id for number in range(3)]
    async with Middle(tmp_path, CONFIG, SystemClock()) as second:
        second.runtime.lanes.configure(10, shares(second.config))
        assert await second.router.recover() == 3
        assert (second.runtime.lanes.queued, second.runtime.lanes.free) == (2, 9)
        second.agents["a"].may_end.set()
        for execution_id in ids:
            live = second.runtime.live(execution_id)
            if live is not None:
                await live.done
            stored = await second.store.get_execution(execution_id)
            assert stored is not None
            assert stored.state is ExecutionState.SUCCEEDED
