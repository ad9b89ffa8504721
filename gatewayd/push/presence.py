"""Who is there: told when it changes, and only what is new.

What a client does on a topic within `push.presence.min_interval` is told as one change, so that one that comes and goes
costs everybody else no more than one message in that time; if in the end nothing is other than before, nothing is said.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gatewayd.config.push import PresenceSection
from gatewayd.core.clock import Clock
from gatewayd.core.event import Event, EventType
from gatewayd.core.ids import IdSource
from gatewayd.core.push import Peer, PresenceChange, PresenceKind
from gatewayd.push.members import Member, Topic
from gatewayd.push.timers import Timers

_TYPES = {
    PresenceKind.JOIN: EventType.PRESENCE_JOIN,
    PresenceKind.LEAVE: EventType.PRESENCE_LEAVE,
    PresenceKind.UPDATE: EventType.PRESENCE_UPDATE,
}
State = tuple[str, Mapping[str, Any]]
"""Status and metadata of a client that is there."""


class _Entry:
    """What is so about a client on a topic, and what was last told."""

    __slots__ = ("actual", "due", "told", "told_at")

    def __init__(self) -> None:
        self.actual: State | None = None
        self.told: State | None = None
        self.told_at: float | None = None
        self.due = False
        """Whether a later look is planned."""


class Presence:
    """One per gateway. `publish` takes the events."""

    def __init__(
        self,
        *,
        publish: Callable[[Event], None],
        settings: Callable[[], PresenceSection],
        timers: Timers,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._publish = publish
        self._settings = settings
        self._timers = timers
        self._clock = clock
        self._ids = ids
        self._entries: dict[tuple[str, Peer], _Entry] = {}
        self.told = 0
        """Changes that were told since the start."""

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Nobody is anywhere, and nobody is told."""
        self._entries.clear()

    def note(self, member: Member) -> None:
        """Something about a member may be other than before."""
        here = member.client.present and member.topic.members.get(member.client.peer) is member
        state = (member.status, member.metadata) if here else None
        entry = self._entries.setdefault((member.topic.name, member.client.peer), _Entry())
        if (entry.actual is None) != (state is None):
            member.topic.present += 1 if state is not None else -1
        entry.actual = state
        self._look(member.topic, member.client.peer, entry)

    def _look(self, topic: Topic, peer: Peer, entry: _Entry) -> None:
        now = self._clock.monotonic()
        free_at = now if entry.told_at is None else entry.told_at + self._settings().min_interval
        if entry.actual == entry.told:
            if entry.actual is None and free_at <= now:
                self._entries.pop((topic.name, peer), None)
            elif entry.actual is None:
                self._later(topic, peer, entry, free_at)
            return
        if free_at > now:
            self._later(topic, peer, entry, free_at)
            return
        before, entry.told, entry.told_at = entry.told, entry.actual, now
        kind = PresenceKind.UPDATE
        if before is None or entry.told is None:
            kind = PresenceKind.JOIN if before is None else PresenceKind.LEAVE
        self._tell(topic, peer, kind, entry.told or before or ("", {}))
        if entry.told is None:
            self._later(topic, peer, entry, now + self._settings().min_interval)

    def _later(self, topic: Topic, peer: Peer, entry: _Entry, when: float) -> None:
        if entry.due:
            return
        entry.due = True

        def look() -> None:
            entry.due = False
            if self._entries.get((topic.name, peer)) is entry:
                self._look(topic, peer, entry)

        self._timers.at(when, look)

    def _tell(self, topic: Topic, peer: Peer, kind: PresenceKind, state: State) -> None:
        status, metadata = state
        change = PresenceChange(topic.name, peer.client_id, peer.principal, kind, status, metadata, self._clock.now())
        self.told += 1
        for member in topic.members.values():
            if member.watches and member.client.peer != peer and member.client.holding:
                member.client.queue.change(change)
                member.client.wake()
        self._publish(
            Event(
                id=self._ids.new(),
                type=_TYPES[kind],
                source="gatewayd",
                stream_id=peer.client_id,
                topic=topic.name,
                time=change.time,
                durable=False,
                data={"topic": topic.name, "client_id": peer.client_id, "status": status, "metadata": metadata},
            )
        )
