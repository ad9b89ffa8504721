"""When a model is left alone, and when it is asked again."""

from gatewayd.providers.breaker import FAILURES, FIRST_REST, LONGEST_REST, Breaker, Breakers, BreakerState
from gatewayd.testing.fakes import FakeClock


def opened(clock: FakeClock) -> Breaker:
    breaker = Breaker("m", "", clock)
    for _ in range(FAILURES):
        assert breaker.admit()
        breaker.failed()
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker("m", "", FakeClock())
    for _ in range(3):
        for _ in range(FAILURES - 1):
            breaker.admit()
            breaker.failed()
        breaker.admit()
        breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED


async def test_after_its_rest_one_call_probes() -> None:
    clock = FakeClock()
    breaker = opened(clock)
    assert breaker.state is BreakerState.OPEN
    assert not breaker.admit()
    await clock.advance(FIRST_REST)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.admit()
    assert not breaker.admit(), "a second probe beside the first"
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    assert breaker.admit()


async def test_a_failed_probe_rests_twice_as_long_up_to_a_bound() -> None:
    clock = FakeClock()
    breaker = opened(clock)
    rests = []
    for _ in range(6):
        await clock.advance(breaker.retry_in)
        assert breaker.admit()
        breaker.failed()
        rests.append(breaker.retry_in)
    assert rests == [60, 120, 240, LONGEST_REST, LONGEST_REST, LONGEST_REST]


async def test_an_abandoned_probe_leaves_room_for_the_next() -> None:
    clock = FakeClock()
    breaker = opened(clock)
    await clock.advance(FIRST_REST)
    assert breaker.admit()
    breaker.abandoned()
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.admit()


def test_the_rest_that_the_server_asks_for_is_kept_within_bounds() -> None:
    for asked, expected in ((90.0, 90.0), (1.0, FIRST_REST), (86_400.0, LONGEST_REST)):
        breaker = Breaker("m", "", FakeClock())
        for _ in range(FAILURES):
            breaker.admit()
            breaker.failed(asked)
        assert breaker.retry_in == expected


def test_late_failures_of_earlier_calls_do_not_lengthen_the_rest() -> None:
    clock = FakeClock()
    breaker = Breaker("m", "", clock)
    for _ in range(FAILURES + 3):
        breaker.admit()
    for _ in range(FAILURES + 3):
        breaker.failed()
    assert breaker.retry_in == FIRST_REST


def test_the_board_forgets_what_no_agent_uses() -> None:
    breakers = Breakers(FakeClock())
    kept = breakers.get("a", "")
    breakers.get("b", "http://x")
    breakers.keep([("a", "")])
    assert [stats.model for stats in breakers.stats()] == ["a"]
    assert breakers.get("a", "") is kept
