"""The pacer: at once while all is quiet, later the more the last handing-out has cost."""

from collections.abc import Callable

import pytest

from gatewayd.bus.pacer import FACTOR, LONGEST, RESOLUTION, Pacer


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
    loop.turn()
    loop.turn()

    ((when, _),) = loop.later
    assert when == pytest.approx(100.020 + FACTOR * 0.020)
    loop.pass_to(when)
    assert flushed == [100.0, when]


def test_nothing_is_held_longer_than_the_bound(loop: Loop) -> None:
    """However dear the last one was."""
    paced = pacer(loop, lambda: loop.call_soon(lambda: setattr(loop, "now", loop.now + 60.0)))
    paced.due()
    loop.turn()
    loop.turn()
    paced.due()

    ((when, _),) = loop.later
    assert when == pytest.approx(loop.now + LONGEST)


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
    for _ in range(3):
        loop.turn()
        loop.turn()
        loop.pass_to(loop.later[0][0] if loop.later else loop.now)

    pause = FACTOR * 0.004
    assert turns == pytest.approx([100.0, 100.004 + pause, 100.008 + 2 * pause])
    assert loop.ready == loop.later == []


def test_what_a_pause_was_too_short_by_is_made_up_for(loop: Loop) -> None:
    """The timers know no parts of a millisecond, and turns may take less."""
    turns: list[float] = []

    def turn() -> bool:
        turns.append(loop.now)
        loop.now += 0.3 * RESOLUTION / FACTOR
        return True

    paced = pacer(loop, turn)
    paced.due()
    while not loop.later:
        loop.turn()

    ((when, _),) = loop.later
    assert len(turns) == 2
    assert when - loop.now == pytest.approx(2 * 0.3 * RESOLUTION)


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
