"""Push as the doors see it: topics, who is on them, and what is said there.

While `push.enabled` is false everything is refused with `PushDisabled`. Turning it on reads the topics, the members and
what waits from the store; turning it off ends all memberships in memory and leaves the store as it is.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gatewayd.access.principals import LostProof, Principal
from gatewayd.access.scopes import Action
from gatewayd.config.loader import Loaded
from gatewayd.config.model import GatewayConfig
from gatewayd.core.clock import Clock, Randomness
from gatewayd.core.errors import GatewayError, NotFound, PermissionDenied, PushDisabled, TopicNotFound
from gatewayd.core.event import Event
from gatewayd.core.ids import IdSource
from gatewayd.core.push import ONLINE, Peer, TopicEndReason
from gatewayd.push.delivery import Pushed
from gatewayd.push.house import PushHouse
from gatewayd.push.members import Client, Member, Topic
from gatewayd.push.topics import Wish
from gatewayd.service import TaskSet
from gatewayd.storage.base import Store
from gatewayd.storage.push import TopicLetter

log = logging.getLogger("gatewayd.push")


class Push:
    """One per gateway. `publish` takes presence events; `config` is asked each time, so that a reload holds at once."""

    def __init__(
        self,
        *,
        store: Store,
        publish: Callable[[Event], None],
        config: Callable[[], GatewayConfig],
        clock: Clock,
        randomness: Randomness,
        ids: IdSource,
    ) -> None:
        self._store = store
        self._publish = publish
        self._config = config
        self._clock = clock
        self._randomness = randomness
        self._ids = ids
        self._house: PushHouse | None = None
        self._tasks = TaskSet("push")

    def plan(self, _old: GatewayConfig | None, new: Loaded) -> "Turn":
        """What a reload has to do about push."""
        return Turn(self, wanted=new.config.push.enabled)

    async def stop(self) -> None:
        """Nothing is sent or retried any more; what is to be acknowledged is on disk."""
        house, self._house = self._house, None
        if house is not None:
            await house.stop()
        await self._tasks.close()

    @property
    def is_on(self) -> bool:
        return self._house is not None

    @property
    def house(self) -> PushHouse:
        """The parts, or `PushDisabled`."""
        if self._house is None:
            raise PushDisabled("push is not enabled on this gateway (push.enabled)")
        return self._house

    def build(self) -> PushHouse:
        """The parts of push, made but not loaded."""
        return PushHouse(
            store=self._store,
            publish=self._publish,
            config=self._config,
            clock=self._clock,
            randomness=self._randomness,
            ids=self._ids,
        )

    def use(self, house: PushHouse | None) -> PushHouse | None:
        """Take these parts from now on; returns what there was."""
        old, self._house = self._house, house
        if house is not None:
            house.start()
        if old is not None:
            old.close(TopicEndReason.DISABLED)
        return old

    # Topics

    async def create_topic(self, principal: Principal, name: str, metadata: Mapping[str, Any] | None) -> Topic:
        house = self.house
        principal.require(Action.PUSH_MANAGE, name)
        return await house.topics.create(name, principal.id, metadata)

    async def delete_topic(self, principal: Principal, name: str) -> tuple[int, int]:
        """How many members it had, and how many deliveries are dead letters now."""
        house = self.house
        principal.require(Action.PUSH_MANAGE, name)
        topic = house.topics.need(name)
        if topic.owner != principal.id and not principal.scopes.allows(Action.ADMIN_WRITE):
            raise PermissionDenied(f"topic {name!r} is {topic.owner}'s: only its owner or admin.write may delete it")
        return await house.topics.delete(topic)

    def topic(self, principal: Principal, name: str) -> Topic:
        """A topic that the principal's scopes cover in any way."""
        house = self.house
        if not may_see(principal, name):
            principal.require(Action.PUSH_JOIN, name)
        return house.topics.need(name)

    def presence(self, principal: Principal, name: str, *, include_away: bool = False) -> list[Member]:
        """Who is on a topic that the principal may join; those that are away only for who has `admin.read`."""
        house = self.house
        principal.require(Action.PUSH_JOIN, name)
        members = house.topics.need(name).members.values()
        if include_away:
            principal.require(Action.ADMIN_READ)
        return [one for one in members if include_away or one.client.present]

    async def publish(
        self, principal: Principal, client_id: str, name: str, data: bytes, *, acknowledged: bool, key: str
    ) -> Pushed:
        """Push to a topic; see `Delivery.publish`."""
        house = self.house
        principal.require(Action.PUSH_PUBLISH, name)
        topic, sender = house.topics.need(name), Peer(principal.id, client_id)
        return await house.delivery.publish(topic, sender, data, acknowledged=acknowledged, key=key)

    # Members

    def check_join(self, principal: Principal, name: str, *, create_if_missing: bool) -> None:
        """Raise what `join` would refuse for want of a right or of a topic."""
        house = self.house
        principal.require(Action.PUSH_JOIN, name)
        try:
            house.topics.need(name)
        except TopicNotFound:
            if not create_if_missing:
                raise
            principal.require(Action.PUSH_MANAGE, name)

    async def join(
        self, principal: Principal, client: Client, name: str, wish: Wish, *, create_if_missing: bool = False
    ) -> int:
        """Put a client on a topic; how many deliveries wait there for it from before."""
        self.check_join(principal, name, create_if_missing=create_if_missing)
        house = self.house
        try:
            topic = house.topics.need(name)
        except TopicNotFound:
            topic = await house.make(name, principal.id)
        return (await house.topics.join(topic, client, wish)).pending

    async def leave(self, peer: Peer, name: str) -> bool:
        """Whether the client was on it. No scope is asked: whoever got there may go."""
        house = self.house
        try:
            topic = house.topics.need(name)
        except TopicNotFound:
            return False
        return await house.topics.leave(topic, peer)

    def update_presence(
        self, peer: Peer, name: str, status: str, metadata: Mapping[str, Any] | None, *, keep: bool = False
    ) -> None:
        """What a client says of itself on one topic, or with '' on all; with `keep` what is not given stays."""
        house = self.house
        house.topics.metadata_text(metadata)
        client = house.topics.clients.get(peer)
        members = list(client.members.values()) if client is not None else []
        if name:
            members = [one for one in members if one.topic.name == name]
            if not members:
                raise NotFound(f"this client is not on topic {name!r}")
        for member in members:
            member.status = status or (member.status if keep else ONLINE)
            member.metadata = member.metadata if keep and metadata is None else dict(metadata or {})
            house.presence.note(member)

    async def ack(self, peer: Peer, delivery_ids: Sequence[str]) -> int:
        """How many of them were waiting."""
        client = self.house.topics.clients.get(peer)
        return await self.house.delivery.receipts.ack(client, delivery_ids) if client is not None else 0

    async def nack(self, peer: Peer, delivery_ids: Sequence[str]) -> int:
        """How many of them come again or are given up."""
        client = self.house.topics.clients.get(peer)
        return await self.house.delivery.receipts.nack(client, delivery_ids) if client is not None else 0

    async def dead_letters(self, principal: Principal, topic: str, before: int, limit: int) -> list[TopicLetter]:
        """Newest first: all for an administrator, else those of the principal's own clients."""
        _ = self.house
        whose = "" if principal.scopes.allows(Action.ADMIN_READ) else principal.id
        return await self._store.list_topic_letters(topic=topic, principal=whose, before=before, limit=limit)

    async def retry_letter(self, principal: Principal, number: int) -> tuple[TopicLetter, Pushed]:
        """Push a dead letter again: one of the principal's own clients, or for an administrator any."""
        house = self.house
        found = await self._store.list_topic_letters(topic="", principal="", before=number + 1, limit=1)
        letter = found[0] if found and found[0].number == number else None
        is_own = letter is not None and letter.peer.principal == principal.id
        if not is_own and principal.scopes.allows(Action.ADMIN_READ):
            principal.require(Action.ADMIN_WRITE)
        if letter is None or not (is_own or principal.scopes.allows(Action.ADMIN_WRITE)):
            raise NotFound(f"there is no dead letter {number}")
        member = house.topics.need(letter.topic).members.get(letter.peer)
        if member is None or not member.acknowledged:
            raise NotFound(f"client {letter.peer.client_id!r} does not acknowledge on topic {letter.topic!r} any more")
        return letter, await house.delivery.again(member, letter)

    def end_lost(self, lost: LostProof) -> None:
        """End the registrations that were made with these tokens of principals."""
        if self._house is not None:
            self._house.pollers.end_lost(lost)

    def stats(self) -> Mapping[str, int]:
        """Figures for operators."""
        return self._house.stats() if self._house is not None else {}


class Turn:
    """Push is turned on or off by a reload: what is needed is read before anything changes."""

    def __init__(self, push: Push, *, wanted: bool) -> None:
        self._push = push
        self._wanted = wanted
        self._new: PushHouse | None = None
        self._old: PushHouse | None = None

    async def prepare(self) -> None:
        if self._wanted and not self._push.is_on:
            house = self._push.build()
            await house.topics.load()
            self._new = house

    def commit(self) -> None:
        if self._new is not None:
            self._push.use(self._new)
        elif not self._wanted:
            self._old = self._push.use(None)

    async def retire(self) -> None:
        if self._old is not None:
            try:
                await self._old.stop()
            except GatewayError as error:
                log.warning("push_not_stopped", extra={"reason": error.reason})

    async def abandon(self) -> None:
        self._new = None


def may_see(principal: Principal, topic: str) -> bool:
    """Whether any scope of push covers the topic."""
    actions = (Action.PUSH_JOIN, Action.PUSH_PUBLISH, Action.PUSH_MANAGE)
    return any(principal.scopes.allows(action, topic) for action in actions)


def place_of(member: Member) -> str:
    """Where a member stands in the list of a topic."""
    return f"{member.client.peer.principal} {member.client.peer.client_id}"
