"""An event at its place in the log, or with its encoding, is the same in all else: whatever fields it has."""

from dataclasses import fields, replace
from typing import Any

from gatewayd.core.event import Event, EventType

GIVEN: dict[str, Any] = {
    "type": EventType.CUSTOM,
    "time": 7.5,
    "data": {"n": 1},
    "durable": False,
    "seq": 3,
    "wire": b"w",
}
FULL = Event(**{each.name: GIVEN.get(each.name, each.name) for each in fields(Event)})


def content(event: Event) -> dict[str, Any]:
    return {each.name: getattr(event, each.name) for each in fields(Event)}


def test_at_its_place_it_is_the_same() -> None:
    assert content(FULL.stamped("then", 9)) == content(replace(FULL, epoch="then", seq=9))


def test_with_its_encoding_it_is_the_same() -> None:
    assert content(FULL.encoded(b"x")) == content(replace(FULL, wire=b"x"))
