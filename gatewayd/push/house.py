"""All parts of push, made anew each time that it is turned on."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from gatewayd.config.model import GatewayConfig
from gatewayd.core.clock import Clock, Randomness
from gatewayd.core.errors import AlreadyExists, GatewayError
from gatewayd.core.event import Event
from gatewayd.core.ids import IdSource
from gatewayd.core.push import Peer, TopicDeadReason, TopicEndReason
from gatewayd.push.clients import Clients
from gatewayd.push.delivery import Delivery
from gatewayd.push.members import Client, Held, Member, Reader, Topic
from gatewayd.push.polling import Pollers
from gatewayd.push.presence import Presence
from gatewayd.push.queue import Bounds
from gatewayd.push.timers import Timers
from gatewayd.push.topics import Topics
from gatewayd.service import TaskSet
from gatewayd.storage.base import Store

log = logging.getLogger("gatewayd.push")

HELD_BYTES = 256 * 1024
"""Bytes of messages that are held for one client whose connection broke."""
BITE = 500
"""Deliveries that expire in one unit of the store."""


class PushHouse:
    """See the module's docstring. `topics.load` before `start`."""

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
        self._config = config
        self._clock = clock
        self._tasks = TaskSet("push")
        self.held = Held()
        self.timers = Timers(clock)
        self.presence = Presence(
            publish=publish, settings=lambda: config().push.presence, timers=self.timers, clock=clock, ids=ids
        )
        self.topics = Topics(
            store=store,
            presence=self.presence,
            settings=lambda: config().push,
            bounds=self._bounds,
            clock=clock,
        )
        self.delivery = Delivery(
            store=store,
            topics=self.topics,
            settings=lambda: config().push.delivery,
            timers=self.timers,
            tasks=self._tasks,
            held=self.held,
            clock=clock,
            ids=ids,
        )
        self.clients = Clients(
            topics=self.topics,
            delivery=self.delivery,
            presence=self.presence,
            settings=lambda: config().push.presence,
            reconnect_timeout=lambda: config().gateway.reconnect_timeout,
            held=self.held,
            timers=self.timers,
            clock=clock,
        )
        self.pollers = Pollers(
            topics=self.topics,
            clients=self.clients,
            delivery=self.delivery,
            settings=lambda: config().push.polling,
            timers=self.timers,
            clock=clock,
            randomness=randomness,
            ids=ids,
        )

    def start(self) -> None:
        """Begin to do things in time."""
        self._tasks.start(self.timers.run(), name="timers")
        self._tasks.start(self._expire(), name="expire")

    def close(self, reason: TopicEndReason) -> None:
        """Tell who is there that it is over; nothing is given out any more."""
        for client in list(self.topics.clients.values()):
            if client.reader is not None:
                for topic in list(client.members):
                    client.reader.ended(topic, reason)
                client.session += 1
        self.pollers.end_all()
        for client in self.topics.clients.values():
            client.reader = None
        self.presence.clear()
        self.timers.clear()

    async def stop(self) -> None:
        """End the tasks; who is there is written down as seen now."""
        there = [one for one in self._kept() if one.client.present or one.client.reader is not None]
        try:
            # Together, so that they share commits: there may be thousands, and a stop is short.
            await asyncio.gather(*(self.topics.keep(member) for member in there))
        finally:
            await self._tasks.close()

    def attach(self, peer: Peer, reader: Reader) -> Client:
        """The client of a stream, which takes over from one that polls under the same id."""
        self.pollers.taken_over(peer)
        client = self.topics.client(peer)
        self.clients.attach(client, reader)
        return client

    async def make(self, name: str, owner: str) -> Topic:
        """A topic for somebody who joins it; whoever was faster made it."""
        try:
            return await self.topics.create(name, owner, None)
        except AlreadyExists:
            return self.topics.need(name)

    def stats(self) -> Mapping[str, int]:
        """Figures for operators."""
        return {
            "topics": len(self.topics),
            "clients": len(self.topics.clients),
            "pollers": len(self.pollers),
            "pending": sum(client.pending for client in self.topics.clients.values()),
            "held_bytes": self.held.size,
            "given_up": self.delivery.receipts.given_up,
            "presence_changes": self.presence.told,
        }

    def _bounds(self, client: Client) -> Bounds:
        config = self._config()
        polls = client.reader is not None and client.reader.polls
        count = config.push.polling.queue if polls else config.push.delivery.queue
        size = config.gateway.limits.queue_bytes
        return Bounds(count, size if client.reader is not None else min(size, HELD_BYTES))

    # Upkeep

    async def _expire(self) -> None:
        while True:
            delivery = self._config().push.delivery
            await self._clock.sleep(min(60.0, max(0.5, min(delivery.message_ttl, delivery.membership_ttl) / 10)))
            try:
                await self._expire_deliveries()
                await self._expire_members()
            except GatewayError as error:
                log.warning("push_expire_failed", extra={"reason": error.reason})

    async def _expire_deliveries(self) -> None:
        while True:
            settled = await self._store.give_up_expired(self._clock.now(), BITE)
            self.topics.settled(settled)
            if settled:
                log.warning("push_expired", extra={"messages": len(settled)})
            for client in {one.peer: self.topics.clients.get(one.peer) for one in settled}.values():
                if client is not None:
                    self.delivery.fill(client)
            if len(settled) < BITE:
                return

    async def _expire_members(self) -> None:
        """Who is there is written down now and then; who was not for too long is a member no more."""
        ttl, now = self._config().push.delivery.membership_ttl, self._clock.now()
        for member in self._kept():
            if member.client.present or member.client.reader is not None:
                if now - member.seen >= ttl / 10:
                    await self.topics.keep(member)
            elif now - member.seen >= ttl:
                log.info("push_membership_ended", extra={"client": member.client.peer.client_id})
                self.topics.end(member)
                await self.topics.bury_member(member, TopicDeadReason.MEMBERSHIP_ENDED)

    def _kept(self) -> list[Member]:
        """Members that acknowledge."""
        return [
            member
            for client in list(self.topics.clients.values())
            for member in client.members.values()
            if member.acknowledged
        ]
