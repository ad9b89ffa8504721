"""The roster: subscriptions of one filter in groups of a bounded size, found by the index while they have members."""

import random

from bus_members import Member, event

from gatewayd.bus.group import Group
from gatewayd.bus.index import Index
from gatewayd.bus.roster import Roster
from gatewayd.core.filter import EventFilter

ALL = EventFilter()
MINE = EventFilter(stream_id="mine")


class World:
    """A roster whose groups have three members at most, and who was told of what."""

    def __init__(self) -> None:
        self.index: Index[Group] = Index()
        self.soon: list[Group] = []
        self.at_once: list[Group] = []
        self.roster = Roster(self.index, 3, self.soon.append, self.at_once.append)
        self.places: dict[Member, Group] = {}

    def join(self, name: str, selection: EventFilter = ALL, *, room: int = 1_000_000, at_once: bool = False) -> Member:
        member = Member(name, room)
        member.close = lambda: self.leave(member, at_once=at_once)  # type: ignore[method-assign]
        self.places[member] = self.roster.join(member, selection, at_once=at_once)
        return member

    def leave(self, member: Member, *, at_once: bool = False) -> None:
        self.roster.leave(member, self.places.pop(member), at_once=at_once)

    def publish(self, name: str) -> None:
        """To everybody who wants it; handed out when somebody says so."""
        for group in self.index.match(event(name)):
            group.add(event(name), 0)


def test_a_group_is_full_at_its_bound() -> None:
    """The next one of that filter begins another."""
    world = World()
    members = [world.join(str(number)) for number in range(7)]

    groups = [world.places[member] for member in members]
    assert [len(group) for group in dict.fromkeys(groups)] == [3, 3, 1]
    world.publish("one")
    assert world.soon == list(dict.fromkeys(groups))
    assert world.at_once == []


def test_places_that_were_left_are_taken_again() -> None:
    """Groups do not grow in number with those that come and go, however many do at a time."""
    world = World()
    chance = random.Random(3)
    members = [world.join(str(number)) for number in range(9)]
    for _ in range(200):
        chance.shuffle(members)
        count = chance.randint(1, 9)
        for member in members[:count]:
            world.leave(member)
        members[:count] = [world.join(str(number)) for number in range(count)]

        assert [len(group) for group in set(world.places.values())] == [3, 3, 3]

    for member in members:
        world.leave(member)
    assert world.index.match(event("x")) == ()


def test_filters_and_ways_of_handing_out_have_groups_of_their_own() -> None:
    """What goes out at once is not held back by what has its turns."""
    world = World()
    soon, prompt, other = world.join("ann"), world.join("bob", at_once=True), world.join("cyd", MINE)

    assert len({world.places[each] for each in (soon, prompt, other)}) == 3
    world.publish("one")
    assert world.soon == [world.places[soon]]
    assert world.at_once == [world.places[prompt]]


def test_what_was_published_before_is_not_for_who_joins() -> None:
    """The others get it first; where that ends them all, the new one is in a group that is found."""
    world = World()
    ann = world.join("ann", room=1)
    for name in ("one", "two"):
        world.publish(name)
        bob = world.join(f"after {name}", room=1)
    world.publish("three")
    for group in set(world.places.values()):
        group.flush()

    assert ann.seen == ["one"]
    assert ann not in world.places
    assert bob.seen == ["three"]
    assert world.places[bob] in world.index.match(event("x"))


def test_what_was_handed_out_is_counted_beyond_the_group() -> None:
    """Over those that are no more."""
    world = World()
    ann = world.join("ann")
    world.publish("one")
    world.places[ann].flush()
    world.leave(ann)
    world.join("bob")
    world.publish("two")
    for group in world.places.values():
        group.flush()

    assert world.roster.delivered == 2
