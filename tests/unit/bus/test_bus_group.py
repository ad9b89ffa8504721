"""Groups: what members get alike is one chunk, and what only some may see keeps its place."""

import random

import pytest
from bus_members import Member, event

from gatewayd.bus.group import CHUNK_BYTES, Group
from gatewayd.core.filter import EventFilter


def group(*members: Member) -> Group:
    made = Group(EventFilter(), lambda _group: None)
    for member in members:
        made.join(member)
    return made


def test_what_is_for_everybody_is_one_chunk_for_all() -> None:
    """The very same object, so that it is encoded once."""
    ann, bob = Member("ann"), Member("bob")
    both = group(ann, bob)
    for number in range(5):
        both.add(event(str(number)), 0)
    both.flush()
    both.flush()

    assert ann.seen == ["0", "1", "2", "3", "4"]
    assert ann.chunks == bob.chunks
    assert len(ann.chunks) == 1
    assert both.delivered == 10


@pytest.mark.parametrize("seed", range(20))
def test_each_member_sees_what_it_may_in_the_order_of_publishing(seed: int) -> None:
    """Random targets and owners between events for everybody, and members that come and go."""
    chance = random.Random(seed)
    members = [Member(name) for name in ("ann", "bob", "cyd")]
    made = group(*members)
    present = set(members)
    expected: dict[str, list[str]] = {member.name: [] for member in members}
    for number in range(400):
        kind = chance.random()
        if kind < 0.1:
            made.flush()
        elif kind < 0.15:
            member = chance.choice(members)
            if member in present and len(present) > 1:
                made.flush()
                made.leave(member)
                present.discard(member)
            elif member not in present:
                made.join(member)
                present.add(member)
        else:
            one = event(str(number), target=chance.choice(("", "", "ann")), owner=chance.choice(("", "", "ann", "bob")))
            made.add(one, 0)
            for member in present:
                if member.visible(one):
                    expected[member.name].append(one.id)
    made.flush()

    assert {member.name: member.seen for member in members} == expected


def test_a_member_that_cannot_keep_up_is_closed_and_the_others_get_all() -> None:
    """It costs nobody an event."""
    slow, quick = Member("slow", room=1), Member("quick")
    both = group(slow, quick)
    for number in range(3):
        both.add(event(str(number)), 0)
        both.flush()

    assert slow.closed
    assert slow.seen == ["0"]
    assert quick.seen == ["0", "1", "2"]


def test_what_has_grown_to_a_chunk_does_not_wait() -> None:
    """What gathers is bounded, whatever the pace."""
    reader = Member("reader")
    made = group(reader)
    for number in range(10):
        made.add(event(str(number), CHUNK_BYTES // 4), 0)

    assert len(reader.seen) >= 8
    assert max(chunk.content_bytes for chunk in reader.chunks) <= CHUNK_BYTES + CHUNK_BYTES // 4


def test_a_member_that_joins_does_not_get_what_came_before() -> None:
    """What has gathered goes to those who were there."""
    old, new = Member("old"), Member("new")
    made = group(old)
    made.add(event("before"), 0)
    made.join(new)
    made.add(event("after"), 0)
    made.flush()

    assert (old.seen, new.seen) == (["before", "after"], ["after"])
