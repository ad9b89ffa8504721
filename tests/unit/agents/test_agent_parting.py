"""When workers are told that they have lost their agent: as soon as nothing that began before needs them."""

import pytest
from workers_rig import TIMEOUT, Program, ended, turn, workers_of

from gatewayd.agents.workers import Workers
from gatewayd.core.errors import AgentNotFound, GatewayError
from gatewayd.testing.fakes import FakeClock

GONE = AgentNotFound("there is no agent 'a'")


def gone(agent: str) -> GatewayError | None:
    return GONE if agent == "a" else None


def back(_: str) -> None:
    return None


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def workers(clock: FakeClock) -> Workers:
    return workers_of(clock)


def serving(workers: Workers, name: str = "w", most: int = 0) -> Program:
    program = Program(workers, name)
    program.register(most, notify_end=True)
    return program


def test_who_has_nothing_to_do_is_told_at_once_and_once(workers: Workers) -> None:
    one, other, old = serving(workers), serving(workers, "other"), Program(workers, "old")
    old.register()
    workers.parting.part(gone)
    workers.parting.part(gone)
    assert (one.ended, other.ended, old.ended) == ([GONE], [GONE], [])
    assert workers.serving("a") == 1
    workers.parting.part(back)
    assert one.register(notify_end=True) == 0
    assert workers.serving("a") == 2


async def test_another_worker_goes_on_with_what_one_loses_after_the_agent_was_taken_away(workers: Workers) -> None:
    """So all of them stay until the last call has ended."""
    programs = [serving(workers, name) for name in ("one", "two")]
    call = workers.ask("a", turn(), "x", 60.0)
    workers.parting.part(gone)
    holder, other = sorted(programs, key=lambda one: not one.calls)
    holder.restart()
    assert list(other.calls) == [call.id]
    assert other.ended == []
    other.say(call.id, "said", final=True)
    assert await ended(workers, call) == "said"
    assert other.ended == [GONE]


async def test_a_call_that_waits_is_handed_to_a_worker_that_comes_back_for_it(workers: Workers) -> None:
    program = serving(workers)
    program.lose()
    call = workers.ask("a", turn(), "x", 60.0)
    workers.parting.part(gone)
    assert workers.parting.drains("a")
    program.register(notify_end=True)
    program.say(call.id, "said", final=True)
    assert await ended(workers, call) == "said"
    assert program.ended == [GONE]
    assert not workers.parting.drains("a")


async def test_a_call_that_nobody_comes_back_for_fails_and_leaves_nothing(workers: Workers, clock: FakeClock) -> None:
    program = serving(workers)
    call = workers.ask("a", turn(), "x", 600.0)
    workers.parting.part(gone)
    program.lose()
    await clock.advance(TIMEOUT + 1.0)
    assert isinstance(await ended(workers, call), GatewayError)
    assert not workers.parting.drains("a")
    assert not workers._pools
    assert not workers._clients


def test_what_runs_and_may_still_ask_keeps_them(workers: Workers) -> None:
    program = serving(workers)
    with workers.parting.needed({"a", "b"}):
        with workers.parting.needed(("a",)):
            workers.parting.part(gone)
        assert program.ended == []
        assert workers.parting.drains("a")
    assert program.ended == [GONE]
    assert not workers.parting._needed


async def test_an_agent_that_is_back_before_its_calls_have_ended_keeps_its_workers(workers: Workers) -> None:
    program = serving(workers)
    call = workers.ask("a", turn(), "x", 60.0)
    workers.parting.part(gone)
    workers.parting.part(back)
    program.say(call.id, "said", final=True)
    assert await ended(workers, call) == "said"
    assert program.ended == []
    assert workers.serving("a") == 1


def test_what_begins_after_the_agent_was_taken_away_keeps_nobody(workers: Workers) -> None:
    """A model may answer for it now, and be asked without a pause."""
    program = serving(workers)
    with workers.parting.needed({"a"}):
        workers.parting.part(gone)
        with workers.parting.needed({"a"}):
            pass
        assert program.ended == []
        later = workers.parting.needed({"a"})
        later.__enter__()
    assert program.ended == [GONE]
    assert not workers.parting.drains("a")
    later.__exit__(None, None, None)
    assert not workers.parting._needed


def test_an_agent_that_workers_never_answered_for_does_not_drain(workers: Workers) -> None:
    workers.parting.part(gone)
    with workers.parting.needed({"a"}):
        workers.parting.part(gone)
        assert not workers.parting.drains("a")
