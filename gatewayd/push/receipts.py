"""What becomes of deliveries that are to be acknowledged: handled, refused, late, or given up.

A client that does not acknowledge in `ack_timeout` gets the message again, `max_retries` times, each with
`retry_backoff` times the time of the one before; what it refuses comes again at once and counts as a retry. Without a
retry left the message becomes a dead letter. The clock runs only while somebody reads for the client.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from gatewayd.config.push import DeliverySection
from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError
from gatewayd.core.push import TopicDeadReason
from gatewayd.push.members import Client
from gatewayd.push.queue import Owed
from gatewayd.push.timers import Timers
from gatewayd.push.topics import Topics
from gatewayd.service import TaskSet
from gatewayd.storage.base import Store
from gatewayd.storage.push import Settled

log = logging.getLogger("gatewayd.push")


class Receipts:
    """One per gateway, for as long as push is on. `fill` is called when a client has room for more."""

    def __init__(
        self,
        *,
        store: Store,
        topics: Topics,
        settings: Callable[[], DeliverySection],
        timers: Timers,
        tasks: TaskSet,
        clock: Clock,
        fill: Callable[[Client], None],
    ) -> None:
        self._store = store
        self._topics = topics
        self._settings = settings
        self._timers = timers
        self._tasks = tasks
        self._clock = clock
        self._fill = fill
        self.given_up = 0
        """Deliveries that became dead letters for want of an acknowledgement, since the start."""

    async def ack(self, client: Client, delivery_ids: Sequence[str]) -> int:
        """These were handled; how many of them were waiting. Returns once that is on disk."""
        done = self._store.settle(client.peer, delivery_ids)
        done.add_done_callback(partial(self._settled, client))
        return len(await asyncio.shield(done))

    async def nack(self, client: Client, delivery_ids: Sequence[str]) -> int:
        """These failed and come again at once, or are given up; how many of them were out."""
        out = [
            owed
            for delivery_id in delivery_ids
            if (owed := client.queue.out.get(delivery_id)) is not None and owed.deadline is not None
        ]
        await self._retry(client, out)
        return len(out)

    async def _retry(self, client: Client, deliveries: Sequence[Owed]) -> None:
        most = self._settings().max_retries
        hopeless, noted = [], []
        for owed in deliveries:
            owed.retries += 1
            if owed.retries > most:
                client.queue.settle(owed.message_id)
                hopeless.append(owed.message_id)
            else:
                client.queue.again(owed)
                noted.append((owed.message_id, owed.attempts, owed.retries))
        if noted:
            self._store.note_attempts(client.peer, noted)
        client.wake()
        if hopeless:
            self.given_up += len(hopeless)
            log.warning("push_given_up", extra={"client": client.peer.client_id, "messages": len(hopeless)})
            done = self._store.give_up(client.peer, hopeless, TopicDeadReason.RETRIES, self._clock.now())
            done.add_done_callback(partial(self._settled, client))
            await asyncio.shield(done)

    def _settled(self, client: Client, future: "asyncio.Future[list[Settled]]") -> None:
        if not future.cancelled() and future.exception() is None:
            self._topics.settled(future.result())
            self._fill(client)

    def look_at(self, client: Client, when: float) -> None:
        """Look at the client's deadlines then, unless an earlier look is planned."""
        if client.check_at is not None and client.check_at <= when:
            return
        client.check_at = when
        self._timers.at(when, partial(self._check, client, when))

    def _check(self, client: Client, when: float) -> None:
        if client.check_at != when:
            return
        client.check_at = None
        now = self._clock.monotonic()
        waiting = [one for one in client.queue.out.values() if one.deadline is not None]
        late = [one for one in waiting if one.deadline is not None and one.deadline <= now]
        rest = [one.deadline for one in waiting if one.deadline is not None and one.deadline > now]
        if rest:
            self.look_at(client, min(rest))
        if late and client.reader is not None:
            self._tasks.start(self._retry_late(client, late), name="retry")

    async def _retry_late(self, client: Client, late: Sequence[Owed]) -> None:
        try:
            await self._retry(client, late)
        except GatewayError as error:
            log.warning("push_not_given_up", extra={"client": client.peer.client_id, "reason": error.reason})
