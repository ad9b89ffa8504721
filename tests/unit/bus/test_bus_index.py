"""The index finds what a look at every filter would find, in time that the others do not lengthen."""

import random

import pytest

from gatewayd.bus.index import Index
from gatewayd.bus.topics import TopicTree
from gatewayd.core.event import Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.topic import TopicPattern

KINDS = (EventType.CUSTOM, EventType.MESSAGE, EventType.ERROR)


def some_event(chance: random.Random) -> Event:
    return Event(
        "e",
        chance.choice(KINDS),
        "x",
        chance.choice(("s", "t")),
        0.0,
        node_id=chance.choice(("", "n", "m")),
        execution_id=chance.choice(("", "x")),
        session_id=chance.choice(("", "c")),
        correlation_id=chance.choice(("", "r")),
        topic=chance.choice(("", "a", "a.b", "a.b.c", "b", "b.c")),
    )


def some_filter(chance: random.Random) -> EventFilter:
    pattern = chance.choice(("", "", ">", "*", "a", "a.*", "a.>", "*.b", "*.*.c", "a.b.>", "b.c"))
    return EventFilter(
        types=chance.choice((None, frozenset(chance.sample(KINDS, chance.randint(1, 3))))),
        stream_id=chance.choice(("", "", "s", "t")),
        node_id=chance.choice(("", "", "", "n")),
        execution_id=chance.choice(("", "", "", "x")),
        session_id=chance.choice(("", "", "", "c")),
        correlation_id=chance.choice(("", "", "", "r")),
        topic=TopicPattern.parse(pattern) if pattern else None,
    )


@pytest.mark.parametrize("seed", range(10))
def test_it_finds_what_a_scan_would_find_while_filters_come_and_go(seed: int) -> None:
    """Random filters and events, several thousand looks; at the end nothing is left behind."""
    chance = random.Random(seed)
    index: Index[int] = Index()
    filters: dict[int, EventFilter] = {}
    for number in range(300):
        if filters and chance.random() < 0.4:
            gone = chance.choice(list(filters))
            index.remove(filters.pop(gone), gone)
        else:
            filters[number] = some_filter(chance)
            index.add(filters[number], number)
        for _ in range(10):
            event = some_event(chance)
            found = index.match(event)
            assert sorted(found) == sorted(n for n, each in filters.items() if each.matches(event))
    for number, each in filters.items():
        index.remove(each, number)
    assert not index._shapes
    assert index.match(some_event(chance)) == ()


def test_filters_that_do_not_match_are_not_looked_at() -> None:
    """Of a hundred thousand, only the bucket of the event's own values is touched: counted, not timed."""
    index: Index[int] = Index()
    for number in range(20_000):
        index.add(EventFilter(frozenset({EventType.CUSTOM}), stream_id=f"s{number}"), number)
        index.add(EventFilter(topic=TopicPattern.parse(f"orders.{number}.*")), -number - 1)
    event = Event("e", EventType.CUSTOM, "x", "s7", 0.0, topic="orders.9.created")

    looked = 0
    for shape in index._shapes.values():
        bucket = shape.buckets.get(shape.values(event))
        if bucket is not None:
            looked += len(bucket.any_topic)
            looked += sum(1 for _ in bucket.topics.find(event.topic)) if bucket.topics is not None else 0

    assert sorted(index.match(event)) == [-10, 7]
    assert looked == 2


def test_what_it_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of ever new streams do not fill the memory."""
    monkeypatch.setattr("gatewayd.bus.index.ROUTES", 10)
    index: Index[str] = Index()
    index.add(EventFilter(stream_id="s1"), "one")
    for number in range(100):
        assert index.match(Event("e", EventType.CUSTOM, "x", f"s{number}", 0.0)) == (("one",) if number == 1 else ())
    assert len(index._routes) <= 10


def test_the_tree_of_topics_forgets_what_is_taken_away() -> None:
    """Two patterns that share their beginning are told apart."""
    tree: TopicTree[str] = TopicTree()
    for pattern in ("a.b", "a.b.>", "a.*", ">"):
        tree.add(TopicPattern.parse(pattern), pattern)

    assert sorted(tree.find("a.b")) == [">", "a.*", "a.b"]
    assert sorted(tree.find("a.b.c")) == [">", "a.b.>"]
    tree.remove(TopicPattern.parse("a.b"), "a.b")
    assert sorted(tree.find("a.b")) == [">", "a.*"]
    for pattern in ("a.b.>", "a.*", ">"):
        tree.remove(TopicPattern.parse(pattern), pattern)
    assert not tree
