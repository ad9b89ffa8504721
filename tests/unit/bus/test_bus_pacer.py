"""The pacer: at once while all is quiet, later the more the last handing-out has cost."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from gatewayd.bus.pacer import FACTOR, LONGEST, RESOLUTION, Pacer

STEP = 1e-5
"""Seconds that a turn of the loop takes, beside what is done in it."""


class Loop:
    """A loop and its clock, which the test moves; it runs what is ready, in order."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ready: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        return self.now

    def call_soon(self, call: Callable[..., None], *arguments: object) -> None:
        self.ready.append((call, arguments))

    def call_later(self, wait: float, call: Callable[[], None]) -> None:
        self.later.append((self.now + wait, call))

    def turn(self) -> None:
        """What is ready now; what becomes ready by that waits for the next turn."""
        ready, self.ready = self.ready, []
        for call, arguments in ready:
            call(*arguments)

    def pass_to(self, when: float) -> None:
        self.now = when
        due = [call for at, call in self.later if at <= when]
        self.later = [entry for entry in self.later if entry[0] > when]
        for call in due:
            call()

    def go_on(self, done: Callable[[], bool]) -> None:
        """Let time pass as it does: a little with each turn, or until the next timer."""
        for _ in range(1_000_000):
            if done():
                return
            if self.ready:
                self.turn()
                self.now += STEP
            elif self.later:
                self.pass_to(min(when for when, _ in self.later))
            else:
                return
        raise AssertionError("it has no end")


@pytest.fixture
def loop() -> Loop:
    return Loop()


def pacer(loop: Loop, flush: Callable[[], object]) -> Pacer:
    """One that hands out with `flush`, all in one turn unless that says something else."""
    made = Pacer(lambda: flush() is True, loop)  # type: ignore[arg-type]
    made._loop = loop  # type: ignore[assignment]
    return made


def test_what_comes_in_one_turn_goes_out_together_after_it(loop: Loop) -> None:
    """However often it was asked."""
    flushed: list[float] = []
    paced = pacer(loop, lambda: flushed.append(loop.now))
    for _ in range(100):
        paced.due()
    assert flushed == []

    loop.turn()

    assert flushed == [100.0]
    assert loop.later == []


def test_the_next_waits_in_proportion_to_what_the_readers_took(loop: Loop) -> None:
    """The cost is counted until the readers that were woken have had their turn."""
    flushed: list[float] = []

    def flush() -> None:
        flushed.append(loop.now)
        loop.call_soon(reader)

    def reader() -> None:
        loop.now += 0.020
        if len(flushed) == 1:
            paced.due()  # while it is measured

    paced = pacer(loop, flush)
    paced.due()
    loop.go_on(lambda: len(flushed) == 2)

    assert flushed == pytest.approx([100.0, 100.020 + FACTOR * 0.020], abs=4 * STEP)


def test_nothing_is_held_longer_than_the_bound(loop: Loop) -> None:
    """However dear the last one was."""
    flushed: list[float] = []

    def flush() -> None:
        flushed.append(loop.now)
        loop.call_soon(lambda: setattr(loop, "now", loop.now + 60.0))

    paced = pacer(loop, flush)
    paced.due()
    loop.turn()
    loop.turn()
    paced.due()
    loop.go_on(lambda: len(flushed) == 2)

    assert flushed == pytest.approx([100.0, 160.0 + LONGEST], abs=4 * STEP)


def test_a_long_pause_is_slept_through_but_for_its_end(loop: Loop) -> None:
    """The loop's timers are not exact, so the end of it is spent awake."""
    paced = pacer(loop, lambda: loop.call_soon(lambda: setattr(loop, "now", loop.now + 0.020)))
    paced.due()
    loop.turn()
    loop.turn()
    paced.due()
    loop.turn()

    ((when, _),) = loop.later
    assert when == pytest.approx(100.020 + FACTOR * 0.020 - RESOLUTION, abs=4 * STEP)
    assert loop.ready == []


def test_a_short_pause_is_spent_awake_and_is_no_shorter(loop: Loop) -> None:
    """Others have their turns in it; no timer is asked for, which would know whole milliseconds."""
    heard: list[float] = []
    turns: list[float] = []

    def turn() -> bool:
        turns.append(loop.now)
        loop.now += 0.8 * RESOLUTION
        loop.call_soon(other)
        return len(turns) < 3

    def other() -> None:
        heard.append(loop.now)
        if len(heard) < 100:
            loop.call_soon(other)

    paced = pacer(loop, turn)
    paced.due()
    loop.go_on(lambda: len(turns) == 3)

    assert loop.later == []
    pause = FACTOR * 0.8 * RESOLUTION
    between = [after - before - 0.8 * RESOLUTION for before, after in pairwise(turns)]
    assert between == pytest.approx([pause, pause], abs=4 * STEP)
    assert any(turns[0] < when < turns[1] for when in heard)


def test_after_a_quiet_time_it_is_at_once_again(loop: Loop) -> None:
    """A hold is a pause between two, not a delay of each."""
    flushed: list[float] = []
    paced = pacer(loop, lambda: flushed.append(loop.now))
    paced.due()
    loop.turn()
    loop.turn()
    loop.pass_to(200.0)
    paced.due()
    loop.turn()

    assert flushed == [100.0, 200.0]


def test_readers_that_are_left_have_the_next_turn_after_a_pause(loop: Loop) -> None:
    """Nobody asks for it again; in between others have theirs."""
    turns: list[float] = []

    def turn() -> bool:
        turns.append(loop.now)
        loop.now += 0.004
        return len(turns) < 3

    paced = pacer(loop, turn)
    paced.due()
    loop.go_on(lambda: False)

    pause = FACTOR * 0.004
    assert turns == pytest.approx([100.0, 100.004 + pause, 100.008 + 2 * pause], abs=8 * STEP)


def test_what_becomes_due_in_a_turn_has_one(loop: Loop) -> None:
    """Whatever that turn says of itself."""
    turns: list[float] = []

    def turn() -> None:
        turns.append(loop.now)
        if len(turns) == 1:
            paced.due()

    paced = pacer(loop, turn)
    paced.due()
    for _ in range(4):
        loop.turn()

    assert len(turns) == 2
