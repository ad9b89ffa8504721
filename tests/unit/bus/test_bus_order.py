"""Order within a stream: ephemeral events behind the durable ones that were submitted before them."""

import random
from dataclasses import replace

import pytest

from gatewayd.bus import order as module
from gatewayd.bus.order import StreamOrder
from gatewayd.core.chunk import EVENT_OVERHEAD
from gatewayd.core.event import Event, EventType


def ephemeral(number: int, stream: str = "s") -> Event:
    return Event(str(number), EventType.CUSTOM, "x", stream, 0.0, durable=False)


class Ordered:
    """What was delivered, durable ones included, as the bus does it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.order = StreamOrder(lambda event: self.seen.append(event.id))

    def commit(self, name: str, stream: str = "s") -> None:
        self.seen.append(name)
        self.order.settled([stream])


def test_an_ephemeral_event_waits_for_the_durable_ones_before_it() -> None:
    """And only for those of its own stream that were submitted before."""
    ordered = Ordered()
    ordered.order.expected(["s", "s"])
    ordered.order.publish(ephemeral(1))
    ordered.order.publish(ephemeral(2, "other"))
    ordered.order.expected(["s"])
    ordered.order.publish(ephemeral(3))

    assert ordered.seen == ["2"]
    ordered.commit("a")
    assert ordered.seen == ["2", "a"]
    ordered.commit("b")
    assert ordered.seen == ["2", "a", "b", "1"]
    ordered.commit("c")
    assert ordered.seen == ["2", "a", "b", "1", "c", "3"]


def test_an_abandoned_unit_holds_nobody_up() -> None:
    """A durable event that never comes is settled all the same, and a stream at rest costs nothing."""
    ordered = Ordered()
    ordered.order.expected(["s"])
    ordered.order.publish(ephemeral(1))
    ordered.order.settled(["s"])

    assert ordered.seen == ["1"]
    assert not ordered.order._streams
    ordered.order.settled(["s", "never"])


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest of the stream goes first, and is counted."""
    monkeypatch.setattr(module, "PARKED_LIMIT", 3)
    ordered = Ordered()
    ordered.order.expected(["s"])
    for number in range(5):
        ordered.order.publish(ephemeral(number))
    ordered.commit("a")

    assert ordered.seen == ["a", "2", "3", "4"]
    assert ordered.order.dropped == 2


def test_what_waits_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that has nothing waiting yet gets no room that others have taken; what was taken is given back."""
    monkeypatch.setattr(module, "PARKED_BYTES", 3 * (1000 + EVENT_OVERHEAD))
    ordered = Ordered()
    for _ in range(2):
        ordered.order.expected(["s", "t"])
        for number in range(4):
            ordered.order.publish(replace(ephemeral(number), wire=b"x" * 1000))
        ordered.order.publish(replace(ephemeral(9, "t"), wire=b"x" * 1000))
        ordered.commit("a")
        ordered.commit("b", "t")

    assert ordered.seen == ["a", "1", "2", "3", "b"] * 2
    assert ordered.order.dropped == 4


def test_a_publish_from_within_a_delivery_keeps_the_order() -> None:
    """Whoever publishes when it hears something comes behind what waited already."""
    seen: list[str] = []

    def deliver(event: Event) -> None:
        seen.append(event.id)
        if event.id == "1":
            order.publish(replace(event, id="from 1"))

    order = StreamOrder(deliver)
    order.expected(["s"])
    order.publish(ephemeral(1))
    order.publish(ephemeral(2))
    order.settled(["s"])

    assert seen == ["1", "2", "from 1"]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_mixture_each_stream_is_in_the_order_of_its_calls(seed: int) -> None:
    """Random streams, kinds and commit times; commits come in the order of submission."""
    chance = random.Random(seed)
    ordered = Ordered()
    expected: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    pending: list[tuple[str, str]] = []
    for number in range(500):
        stream, name = chance.choice("abc"), str(number)
        kind = chance.random()
        if kind < 0.4:
            ordered.order.publish(Event(name, EventType.CUSTOM, "x", stream, 0.0, durable=False))
            expected[stream].append(name)
        elif kind < 0.7:
            ordered.order.expected([stream])
            pending.append((name, stream))
            expected[stream].append(name)
        elif pending:
            ordered.commit(*pending.pop(0))
    while pending:
        ordered.commit(*pending.pop(0))

    for stream, names in expected.items():
        assert [name for name in ordered.seen if name in set(names)] == names, stream
