"""Recent events: consecutive, bounded in bytes, and gone when something was erased."""

from gatewayd.bus.recent import RecentEvents
from gatewayd.core.chunk import EVENT_OVERHEAD
from gatewayd.core.event import Event, EventType


def event(seq: int) -> Event:
    return Event(str(seq), EventType.CUSTOM, "x", "s", 0.0, wire=b"x" * 72, epoch="e", seq=seq)


def seqs(recent: RecentEvents, after: int, limit: int = 100) -> list[int] | None:
    found = recent.after(after, limit)
    return None if found is None else [each.seq for each in found]


def test_it_gives_what_is_behind_a_place_or_says_that_it_cannot() -> None:
    """A place before its first event is not its to answer."""
    recent = RecentEvents(limit_bytes=5 * (72 + EVENT_OVERHEAD))
    assert seqs(recent, 0) is None
    for number in range(1, 9):
        recent.add([event(number)])

    assert seqs(recent, 3) == [4, 5, 6, 7, 8]
    assert seqs(recent, 5, limit=2) == [6, 7]
    assert seqs(recent, 8) == []
    assert seqs(recent, 2) is None


def test_a_gap_in_the_log_begins_anew() -> None:
    """What is in it is always consecutive."""
    recent = RecentEvents()
    recent.add([event(1)])
    recent.add([event(5), event(6)])

    assert seqs(recent, 0) is None
    assert seqs(recent, 4) == [5, 6]


def test_an_erasure_leaves_nothing() -> None:
    """And what comes after it is kept again."""
    recent = RecentEvents()
    recent.add([event(1)])
    recent.forget()
    assert seqs(recent, 0) is None
    recent.add([event(2)])
    assert seqs(recent, 1) == [2]
