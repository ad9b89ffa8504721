"""Whose questions may be answered: bounded, and nobody pays for another's."""

from gatewayd.conversation.askers import Askers
from gatewayd.core.event import Event, EventType

WORKER, OTHER = ("maker", "needle"), ("maker", "thread")


def question(principal: str, correlation: str, client: str = "shop") -> Event:
    return Event(
        correlation,
        EventType.CUSTOM,
        principal,
        client,
        1.0,
        target="tailor",
        correlation_id=correlation,
        owner=principal,
    )


def answerable(askers: Askers, principal: str, count: int) -> list[int]:
    return [n for n in range(count) if askers.among([principal], WORKER, "shop", f"c{n}")]


def test_only_what_was_asked_can_be_answered() -> None:
    """By that worker, that client, under that correlation id."""
    askers = Askers()
    askers.note(WORKER, question("ann", "c1"))

    assert askers.among(["ann", "bob"], WORKER, "shop", "c1") == {"ann"}
    assert not askers.among(["bob"], WORKER, "shop", "c1")
    assert not askers.among(["ann"], OTHER, "shop", "c1")
    assert not askers.among(["ann"], WORKER, "office", "c1")
    assert not askers.among(["ann"], WORKER, "shop", "c2")


def test_two_principals_may_ask_alike() -> None:
    askers = Askers()
    for principal in ("ann", "bob"):
        askers.note(WORKER, question(principal, "c1"))

    assert askers.among(["ann", "bob"], WORKER, "shop", "c1") == {"ann", "bob"}


def test_who_asks_most_loses_its_oldest() -> None:
    askers = Askers(most=10)
    for number in range(3):
        askers.note(WORKER, question("bob", f"c{number}"))
    for number in range(20):
        askers.note(WORKER, question("ann", f"c{number}"))

    assert answerable(askers, "bob", 3) == [0, 1, 2]
    assert answerable(askers, "ann", 20) == list(range(13, 20))


def test_what_is_asked_again_is_young_again_and_counts_once() -> None:
    askers = Askers(most=3)
    for number in (0, 1, 2, 0, 3):
        askers.note(WORKER, question("ann", f"c{number}"))

    assert answerable(askers, "ann", 4) == [0, 2, 3]
