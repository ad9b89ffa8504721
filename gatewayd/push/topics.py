"""The topics, and who is on them: making and ending both, within bounds.

A topic stays until it is deleted. A membership belongs to a client, not to its connection. One that acknowledges is
kept by the store, for as long as `push.delivery.membership_ttl` after the client was last there; any other ends with an
orderly end of the connection, or `gateway.reconnect_timeout` after its loss.
"""

import asyncio
import bisect
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gatewayd.config.push import PushSection
from gatewayd.core.clock import Clock
from gatewayd.core.errors import AlreadyExists, GatewayError, InvalidArgument, LimitExceeded, TopicNotFound, Violation
from gatewayd.core.push import ONLINE, Peer, TopicDeadReason, TopicEndReason
from gatewayd.core.topic import check_topic
from gatewayd.core.value import value
from gatewayd.push.members import Client, Member, Topic
from gatewayd.push.presence import Presence
from gatewayd.push.queue import Bounds
from gatewayd.storage.base import Store
from gatewayd.storage.push import MemberRecord, Settled, TopicRecord

PAGE = 1000
"""Rows that are read at once when push is turned on."""
_FULL_RETRY = 5.0


@value(frozen=True, slots=True)
class Wish:
    """How a client wants to be on a topic."""

    acknowledged: bool
    status: str
    metadata: Mapping[str, Any] | None
    watch_presence: bool


class Topics:
    """One per gateway, for as long as push is on."""

    def __init__(
        self,
        *,
        store: Store,
        presence: Presence,
        settings: Callable[[], PushSection],
        bounds: Callable[[Client], Bounds],
        clock: Clock,
    ) -> None:
        self._store = store
        self._presence = presence
        self._settings = settings
        self._bounds = bounds
        self._clock = clock
        self._topics: dict[str, Topic] = {}
        self._names: list[str] = []
        self.clients: dict[Peer, Client] = {}

    async def load(self) -> None:
        """Bring into memory what the store has; nobody is there yet."""
        name = ""
        while records := await self._store.list_topics(name, PAGE):
            for record in records:
                self._topics[record.name] = Topic(record.name, record.owner, record.metadata, record.created)
                self._names.append(record.name)
            name = records[-1].name
        place = ("", "", "")
        while members := await self._store.list_members(place, PAGE):
            for kept in members:
                if (topic := self._topics.get(kept.topic)) is not None:
                    self._add(topic, self._known(kept.peer), kept.joined, acknowledged=True).seen = kept.seen
            place = (members[-1].topic, members[-1].peer.principal, members[-1].peer.client_id)
        for waiting in await self._store.count_pending():
            member = self._member(waiting.topic, waiting.peer)
            if member is not None:
                self.count(member, waiting.count, waiting.size)
        for client in self.clients.values():
            client.behind_from = "~"  # sorts behind every id: what there is has to be asked of the disk

    # Topics

    def need(self, name: str) -> Topic:
        """The topic, or `TopicNotFound`; `InvalidArgument` for what can be no topic's name."""
        topic = self._topics.get(check_topic(name))
        if topic is None:
            raise TopicNotFound(f"there is no topic {name!r}", metadata={"topic": name})
        return topic

    def names(self, after: str) -> Iterator[str]:
        """All names behind that one, in order."""
        for place in range(bisect.bisect_right(self._names, after), len(self._names)):
            yield self._names[place]

    def __len__(self) -> int:
        return len(self._topics)

    async def create(self, name: str, owner: str, metadata: Mapping[str, Any] | None) -> Topic:
        """Make one and return when it is on disk."""
        check_topic(name)
        text = self.metadata_text(metadata)
        if name in self._topics:
            raise AlreadyExists(f"there is a topic {name!r} already")
        most = self._settings().max_topics
        if len(self._topics) >= most:
            raise _full(f"there are {most} topics (push.max_topics)", "push.max_topics")
        topic = Topic(name, owner, text, self._clock.now())
        written = self._store.add_topic(TopicRecord(name, owner, text, topic.created))
        self._topics[name] = topic
        bisect.insort(self._names, name)
        try:
            await asyncio.shield(written)
        except GatewayError:
            self._drop_topic(topic)
            raise
        return topic

    async def delete(self, topic: Topic) -> tuple[int, int]:
        """Delete one, telling its members; how many there were, and how many deliveries are dead letters now."""
        members = list(topic.members.values())
        self._drop_topic(topic)
        for member in members:
            self.end(member, TopicEndReason.DELETED)
        buried = 0
        for member in members:
            if member.acknowledged:
                buried += await self.bury_member(member, TopicDeadReason.TOPIC_DELETED)
        await asyncio.shield(self._store.remove_topic(topic.name))
        return len(members), buried

    def _drop_topic(self, topic: Topic) -> None:
        if self._topics.get(topic.name) is topic:
            del self._topics[topic.name]
            self._names.pop(bisect.bisect_left(self._names, topic.name))

    # Members

    def client(self, peer: Peer) -> Client:
        """The client, made if need be; `LimitExceeded` when there are too many."""
        client = self.clients.get(peer)
        if client is None:
            most = self._settings().max_clients
            if len(self.clients) >= most:
                raise _full(f"{most} clients are on topics (push.max_clients)", "push.max_clients")
            client = self._known(peer)
        return client

    def _known(self, peer: Peer) -> Client:
        client = self.clients.get(peer)
        if client is None:
            client = self.clients[peer] = Client(peer, self._bounds)
        return client

    async def join(self, topic: Topic, client: Client, wish: Wish) -> Member:
        """Put the client on the topic, or change how it is on it; returns when what has to be kept is on disk."""
        self.metadata_text(wish.metadata)
        known = topic.members.get(client.peer)
        if known is None:
            self._check_room(topic, client)
        member = known or self._add(topic, client, self._clock.now(), acknowledged=False)
        member.status, member.metadata = wish.status or ONLINE, dict(wish.metadata or {})
        member.watches = wish.watch_presence
        if wish.acknowledged and not member.acknowledged:
            member.acknowledged = True
            try:
                await self.keep(member)
            except GatewayError:
                member.acknowledged = False
                if known is None:
                    self.end(member)
                raise
        elif member.acknowledged and not wish.acknowledged:
            member.acknowledged = False
            await self.bury_member(member, TopicDeadReason.MEMBERSHIP_ENDED)
        self._presence.note(member)
        return member

    async def leave(self, topic: Topic, peer: Peer) -> bool:
        """Whether the client was on it; what waited there becomes dead letters."""
        member = topic.members.get(peer)
        if member is None:
            return False
        self.end(member)
        if member.acknowledged:
            await self.bury_member(member, TopicDeadReason.MEMBERSHIP_ENDED)
        return True

    def end(self, member: Member, told: TopicEndReason | None = None) -> None:
        """Take a member off its topic, in memory; with a reason it is told."""
        client, topic = member.client, member.topic
        if topic.members.get(client.peer) is member:
            del topic.members[client.peer]
        if client.members.get(topic.name) is member:
            del client.members[topic.name]
        for owed in [one for one in client.queue.out.values() if one.topic == topic.name]:
            client.queue.settle(owed.message_id)
        self._presence.note(member)
        if told is not None and client.reader is not None:
            client.reader.ended(topic.name, told)
        self.forget_if_nothing(client)

    def forget_if_nothing(self, client: Client) -> None:
        """A client that is on no topic is not remembered."""
        if not client.members and self.clients.get(client.peer) is client and client.reader is None:
            del self.clients[client.peer]

    async def keep(self, member: Member) -> None:
        """Write down that a member that acknowledges is there."""
        now = self._clock.now()
        record = MemberRecord(member.topic.name, member.client.peer, member.joined, now)
        await asyncio.shield(self._store.keep_member(record))
        member.seen = now

    async def bury_member(self, member: Member, reason: TopicDeadReason) -> int:
        """The store forgets the membership; how many deliveries are dead letters now."""
        done = self._store.end_member(member.topic.name, member.client.peer, reason, self._clock.now())
        settled = await asyncio.shield(done)
        self.count(member, -len(settled), -sum(one.size for one in settled))
        return len(settled)

    def settled(self, settled: list[Settled]) -> None:
        """These deliveries are pending no more."""
        for one in settled:
            client = self.clients.get(one.peer)
            if client is not None:
                client.queue.settle(one.message_id)
            if (member := self._member(one.topic, one.peer)) is not None:
                self.count(member, -1, -one.size)

    def count(self, member: Member, count: int, size: int) -> None:
        """So many more deliveries are pending for a member."""
        member.pending += count
        member.topic.pending += count
        member.client.pending += count
        member.client.pending_bytes += size

    def metadata_text(self, metadata: Mapping[str, Any] | None) -> str:
        """The metadata as JSON; `InvalidArgument` when it is too large."""
        text = json.dumps(metadata or {}, ensure_ascii=False, sort_keys=True)
        most = self._settings().max_metadata
        if len(text.encode()) > most:
            what = f"is larger than {most} bytes (push.max_metadata)"
            raise InvalidArgument(f"metadata: {what}", violations=[Violation("metadata", what)])
        return text

    def _member(self, topic: str, peer: Peer) -> Member | None:
        found = self._topics.get(topic)
        return found.members.get(peer) if found is not None else None

    def _add(self, topic: Topic, client: Client, joined: float, *, acknowledged: bool) -> Member:
        member = Member(topic, client, joined, acknowledged=acknowledged)
        topic.members[client.peer] = member
        client.members[topic.name] = member
        return member

    def _check_room(self, topic: Topic, client: Client) -> None:
        settings = self._settings()
        if len(topic.members) >= settings.max_members:
            raise _full(f"{settings.max_members} clients are on this topic (push.max_members)", "push.max_members")
        if len(client.members) >= settings.max_joined:
            raise _full(f"a client may be on {settings.max_joined} topics (push.max_joined)", "push.max_joined")


def _full(what: str, limit: str) -> LimitExceeded:
    return LimitExceeded(what, metadata={"limit": limit}, retry_after=_FULL_RETRY)
