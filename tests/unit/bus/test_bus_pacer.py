"""The pacer: at once while all is quiet, later the more the last handing-out has cost."""

from collections.abc import Callable

import pytest

from gatewayd.bus.pacer import FACTOR, LONGEST, Pacer


class Loop:
    """A loop whose time the test moves; it runs what is ready, in order."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ready: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
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


def pacer(loop: Loop, flush: Callable[[], None]) -> Pacer:
    made = Pacer(flush)
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
