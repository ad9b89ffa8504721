"""Messages from a sender to the members of a topic, and at least once to those that acknowledge.

At least once needs both sides, as it does with MQTT: a publisher that asks for it and a member that acknowledges. Such
a message is on disk before it is sent, and stays there for each member until that acknowledges it (`receipts.py`).
While a member is away nothing is counted: on its return everything that waits comes again, the oldest first.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice

from gatewayd.bus.pacer import SHARE, Pacer
from gatewayd.config.push import DeliverySection
from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError, LimitExceeded, NotFound
from gatewayd.core.ids import IdSource
from gatewayd.core.push import Peer, TopicDelivery
from gatewayd.core.value import value
from gatewayd.push.members import Client, Held, Member, Topic
from gatewayd.push.queue import Owed
from gatewayd.push.receipts import Receipts
from gatewayd.push.timers import Timers
from gatewayd.push.topics import Topics
from gatewayd.service import TaskSet
from gatewayd.storage.base import Store
from gatewayd.storage.push import Kept, PushedMessage, Recipient, TopicLetter
from gatewayd.wire.push import delivered, message_bytes, renamed

log = logging.getLogger("gatewayd.push")

PAGE = 50
"""Deliveries that are read from disk at once."""
ALL_HELD_BYTES = 64 << 20
"""Bytes of messages that are held for all clients whose connection broke; beyond it what comes for them is dropped."""


@value(frozen=True, slots=True)
class Pushed:
    """What became of a message."""

    message_id: str
    recipients: int


class Delivery:
    """One per gateway, for as long as push is on."""

    def __init__(
        self,
        *,
        store: Store,
        topics: Topics,
        settings: Callable[[], DeliverySection],
        timers: Timers,
        tasks: TaskSet,
        held: Held,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._held = held
        self._woken: dict[Client, None] = {}
        self._pacer = Pacer(self._wake_next, clock)
        self._store = store
        self._topics = topics
        self._settings = settings
        self._tasks = tasks
        self._clock = clock
        self._ids = ids
        self.receipts = Receipts(
            store=store, topics=topics, settings=settings, timers=timers, tasks=tasks, clock=clock, fill=self.fill
        )

    # In

    async def publish(
        self, topic: Topic, sender: Peer, data: bytes, *, acknowledged: bool = False, key: str = ""
    ) -> Pushed:
        """Send to every member but the sender; returns once what has to be on disk is."""
        now = self._clock.now()
        message_id = self._ids.new()
        wire = message_bytes(topic.name, message_id, sender, data, now)
        members = [one for one in topic.members.values() if one.client.peer != sender]
        plain = [one for one in members if one.client.holding and not (acknowledged and one.acknowledged)]
        if not acknowledged:
            self._after_earlier(topic, partial(self._send, plain, wire))
            return Pushed(message_id, len(plain))
        owed, refused = self._admit([one for one in members if one.acknowledged], len(wire))
        count = len(plain) + len(owed)
        if not (owed or refused or key):
            self._after_earlier(topic, partial(self._send, plain, wire))
            return Pushed(message_id, count)
        message = PushedMessage(message_id, topic.name, wire, now, now + self._settings().message_ttl)
        digest = hashlib.sha256(topic.name.encode() + b"\0" + data).digest()
        for member in owed:
            self._topics.count(member, 1, len(wire))
        recipients = [Recipient(one.client.peer, int(self._takes(one.client, len(wire)))) for one in owed]
        kept = self._store.keep_push(
            message,
            recipients,
            [one.client.peer for one in refused],
            scope=f"push {sender.principal}",
            key=key,
            digest=digest,
            count=count,
        )
        topic.tail = kept
        topic.unsettled += 1
        kept.add_done_callback(partial(self._kept, topic, message, owed, plain))
        done = await asyncio.shield(kept)
        return Pushed(done.message_id, done.recipients)

    async def again(self, member: Member, letter: TopicLetter) -> Pushed:
        """Send a dead letter to its client once more, as a new message; returns once it is on disk.

        `LimitExceeded` if too much waits for that client, `NotFound` if somebody else was faster.
        """
        now, message_id = self._clock.now(), self._ids.new()
        wire = renamed(letter.wire, message_id)
        owed, refused = self._admit([member], len(wire))
        if refused:
            raise LimitExceeded("too much waits for that client", metadata={"limit": "push.delivery.max_pending"})
        message = PushedMessage(message_id, member.topic.name, wire, now, now + self._settings().message_ttl)
        self._topics.count(member, 1, len(wire))
        recipient = Recipient(letter.peer, int(self._takes(member.client, len(wire))))
        kept = self._store.retry_letter(letter.number, message, recipient)
        member.topic.tail = kept
        member.topic.unsettled += 1
        kept.add_done_callback(partial(self._kept, member.topic, message, owed, ()))
        if (await asyncio.shield(kept)).duplicate:
            raise NotFound(f"the dead letter {letter.number} is not there any more")
        return Pushed(message_id, 1)

    def _admit(self, members: Sequence[Member], size: int) -> tuple[list[Member], list[Member]]:
        """Those for whom one more may wait, and those for whom not."""
        settings = self._settings()
        owed: list[Member] = []
        refused: list[Member] = []
        for member in members:
            client = member.client
            full = client.pending >= settings.max_pending or client.pending_bytes + size > settings.max_pending_bytes
            (refused if full else owed).append(member)
        return owed, refused

    def _kept(
        self,
        topic: Topic,
        message: PushedMessage,
        owed: Sequence[Member],
        plain: Sequence[Member],
        future: "asyncio.Future[Kept]",
    ) -> None:
        """The store has answered; here and not in the publisher's task, which may be gone."""
        topic.unsettled -= 1
        size = len(message.wire)
        if future.cancelled() or future.exception() is not None or future.result().duplicate:
            for member in owed:
                self._topics.count(member, -1, -size)
            return
        for member in owed:
            if _is_on(member):
                self._owe(member.client, message)
        self._send(plain, message.wire)

    def _send(self, members: Sequence[Member], wire: bytes) -> None:
        for member in members:
            client = member.client
            if not (_is_on(member) and client.holding):
                continue
            if client.reader is not None:
                client.queue.put(wire)
                self._wake(client)
            elif self._held.size + len(wire) > ALL_HELD_BYTES:
                client.queue.drop()
            else:
                before = client.queue.plain_bytes
                client.queue.put(wire)
                self._held.size += client.queue.plain_bytes - before

    def _after_earlier(self, topic: Topic, send: Callable[[], None]) -> None:
        """Now, or behind what was pushed to the topic before and is not on disk yet."""
        if topic.unsettled and topic.tail is not None:
            topic.tail.add_done_callback(lambda _: send())
        else:
            send()

    def _takes(self, client: Client, size: int) -> bool:
        return client.reader is not None and not client.behind and client.queue.has_room(size)

    def _owe(self, client: Client, message: PushedMessage) -> None:
        """A message that is on disk for a client: into memory, if there is room and nothing older is left on disk."""
        if message.id <= client.loaded_to:
            return
        if not self._takes(client, len(message.wire)):
            client.behind_from = max(client.behind_from, message.id)
            client.skipped = message.id
            return
        client.loaded_to = message.id
        client.queue.owe(Owed(message.id, message.topic, message.wire, attempts=0, recorded=1, retries=0))
        self._wake(client)

    def _wake(self, client: Client) -> None:
        """Soon: what comes close together goes out in one frame, which is what costs."""
        self._woken[client] = None
        self._pacer.due()

    def _wake_next(self) -> bool:
        for client in tuple(islice(self._woken, SHARE)):
            del self._woken[client]
            client.wake()
        return bool(self._woken)

    # Out

    def take(self, client: Client, count: int, max_bytes: int, *, alone: bool = True) -> TopicDelivery | None:
        """What waits for a client, up to these bounds; None when nothing does. From now on it has to acknowledge.

        `alone`: one message that is larger may come by itself.
        """
        taken = client.queue.take(count, max_bytes, alone=alone)
        if not taken:
            return None
        messages, noted = [], []
        settings, now = self._settings(), self._clock.monotonic()
        for item in taken.messages:
            if isinstance(item, bytes):
                messages.append(item)
                continue
            item.attempts += 1
            item.deadline = now + settings.ack_timeout * settings.retry_backoff**item.retries
            messages.append(delivered(item.wire, item.message_id, item.attempts - 1))
            if item.attempts > item.recorded:
                item.recorded = item.attempts
                noted.append((item.message_id, item.attempts, item.retries))
            self.receipts.look_at(client, item.deadline)
        if noted:
            self._store.note_attempts(client.peer, noted)
        return TopicDelivery(messages, taken.changes, taken.dropped)

    def returned(self, client: Client) -> None:
        """A reader has come: everything that waits comes again, from the disk."""
        client.queue.forget_owed()
        client.loaded_to = ""
        client.behind_from = "~" if client.pending else ""
        self.fill(client)

    def went(self, client: Client) -> None:
        """Nobody reads any more: what is to be acknowledged waits on disk, without a clock."""
        client.queue.forget_owed()
        client.behind_from = "~"

    def fill(self, client: Client) -> None:
        """Read on, if something is on disk and there is room."""
        if client.behind and client.reader is not None and not client.loading and client.queue.room:
            client.loading = True
            self._tasks.start(self._load(client, client.session), name="load")

    async def _load(self, client: Client, session: int) -> None:
        try:
            while client.session == session and client.behind and (room := min(client.queue.room, PAGE)):
                client.skipped = ""
                rows = await self._store.list_pending(client.peer, client.loaded_to, room)
                if client.session != session:
                    return
                for row in rows:
                    if not client.queue.has_room(len(row.wire)):
                        return
                    client.loaded_to = row.message_id
                    if row.topic in client.members:
                        owed = Owed(
                            row.message_id,
                            row.topic,
                            row.wire,
                            attempts=row.attempts,
                            recorded=row.attempts,
                            retries=row.retries,
                        )
                        client.queue.owe(owed)
                if len(rows) < room:
                    client.behind_from = client.skipped
                client.wake()
        except GatewayError as error:
            log.warning("push_not_read", extra={"client": client.peer.client_id, "reason": error.reason})
        finally:
            client.loading = False
            if client.session != session:
                self.fill(client)
            client.wake()


def _is_on(member: Member) -> bool:
    return member.topic.members.get(member.client.peer) is member
