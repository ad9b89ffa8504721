"""Which group a subscription is in: those of one filter are in groups of at most so many members.

While a group is handed out the loop does nothing else, and what is published meanwhile waits for the next time. Many
readers of one filter are therefore several groups, whose turns come one after the other, with a pause behind each: that
makes no more frames, but nobody's events wait for the frames of all others.
"""

from collections.abc import Callable

from gatewayd.bus.group import Group, Member
from gatewayd.bus.index import Index
from gatewayd.core.filter import EventFilter

Dirty = Callable[[Group], None]
"""Told of a group that has something to hand out."""


class Roster:
    """All groups, by their filter; `index` finds them by event."""

    def __init__(self, index: Index[Group], share: int, soon: Dirty, at_once: Dirty) -> None:
        """`share`: members of a group. `soon` is told of groups that wait for their turn, `at_once` of the others."""
        self._index = index
        self.share = share
        self._dirty = {False: soon, True: at_once}
        self._groups: dict[tuple[EventFilter, bool], list[Group]] = {}
        """In each list those with room are behind those that are full, so that the last has room if any has."""
        self._delivered = 0
        """Events that groups which are no more have handed out."""

    @property
    def delivered(self) -> int:
        """Events that were handed out to members, over all."""
        return self._delivered + sum(group.delivered for groups in self._groups.values() for group in groups)

    def join(self, member: Member, selection: EventFilter, *, at_once: bool) -> Group:
        """Put it into a group of its filter; what was published before is not for it."""
        key = (selection, at_once)
        group = self._with_room(key)
        while group is not None:
            group.flush()  # which may end its last member, and the group with it
            if group is (group := self._with_room(key)):
                break
        if group is None:
            group = Group(selection, self._dirty[at_once])
            self._groups.setdefault(key, []).append(group)
            self._index.add(selection, group)
        group.join(member)
        if len(group) >= self.share:
            groups = self._groups[key]
            groups.insert(0, groups.pop())
        return group

    def _with_room(self, key: tuple[EventFilter, bool]) -> Group | None:
        groups = self._groups.get(key)
        return groups[-1] if groups and len(groups[-1]) < self.share else None

    def leave(self, member: Member, group: Group, *, at_once: bool) -> None:
        """Take it out of its group, and with the last member the group."""
        group.leave(member)
        groups = self._groups[group.selection, at_once]
        groups.remove(group)
        if group:
            groups.append(group)
            return
        self._delivered += group.delivered
        self._index.remove(group.selection, group)
        if not groups:
            del self._groups[group.selection, at_once]
