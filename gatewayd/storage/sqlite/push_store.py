"""The part of `SQLiteStore` that implements `storage.push.PushTables`."""

from collections.abc import Sequence
from functools import partial

from gatewayd.core.push import Peer, TopicDeadReason
from gatewayd.storage.push import (
    Kept,
    MemberRecord,
    Pending,
    PushedMessage,
    Recipient,
    Settled,
    TopicLetter,
    TopicRecord,
    Waiting,
)
from gatewayd.storage.sqlite import push
from gatewayd.storage.sqlite.reader import Reader
from gatewayd.storage.sqlite.unit import Receipt
from gatewayd.storage.sqlite.writer import Writer

ROW_BYTES = 200
"""What one delivery holds while its unit waits, roughly."""


class SQLitePush:
    """See `storage.push.PushTables`."""

    _reader: Reader
    _writer: Writer

    def add_topic(self, record: TopicRecord) -> Receipt[bool]:
        return self._writer.submit(partial(push.add_topic, record=record), size=len(record.metadata))

    def remove_topic(self, name: str) -> Receipt[None]:
        return self._writer.submit(partial(push.remove_topic, name=name))

    async def list_topics(self, after: str, limit: int) -> list[TopicRecord]:
        return await self._reader.run(push.list_topics, after, limit)

    def keep_member(self, record: MemberRecord) -> Receipt[None]:
        return self._writer.submit(partial(push.keep_member, record=record))

    def end_member(self, topic: str, peer: Peer, reason: TopicDeadReason, time: float) -> Receipt[list[Settled]]:
        apply = partial(push.end_member, topic=topic, peer=peer, reason=reason, time=time)
        return self._writer.submit(apply)

    async def list_members(self, after: tuple[str, str, str], limit: int) -> list[MemberRecord]:
        return await self._reader.run(push.list_members, after, limit)

    def keep_push(
        self,
        message: PushedMessage,
        recipients: Sequence[Recipient],
        refused: Sequence[Peer],
        *,
        scope: str = "",
        key: str = "",
        digest: bytes = b"",
        count: int = 0,
    ) -> Receipt[Kept]:
        place = (scope, key) if key else None
        apply = partial(
            push.keep,
            message=message,
            recipients=recipients,
            refused=refused,
            key=place,
            digest=digest,
            count=count,
        )
        size = len(message.wire) * (1 + len(refused)) + ROW_BYTES * len(recipients)
        return self._writer.submit(apply, keys=(place,) if place else (), size=size)

    def retry_letter(self, number: int, message: PushedMessage, recipient: Recipient) -> Receipt[Kept]:
        apply = partial(push.retry_letter, number=number, message=message, recipient=recipient)
        return self._writer.submit(apply, size=len(message.wire) + ROW_BYTES)

    def settle(self, peer: Peer, message_ids: Sequence[str]) -> Receipt[list[Settled]]:
        return self._writer.submit(partial(push.settle, peer=peer, message_ids=tuple(message_ids)))

    def give_up(
        self, peer: Peer, message_ids: Sequence[str], reason: TopicDeadReason, time: float
    ) -> Receipt[list[Settled]]:
        apply = partial(push.give_up, peer=peer, message_ids=tuple(message_ids), reason=reason, time=time)
        return self._writer.submit(apply)

    def note_attempts(self, peer: Peer, attempts: Sequence[tuple[str, int, int]]) -> Receipt[None]:
        return self._writer.submit(partial(push.note_attempts, peer=peer, attempts=tuple(attempts)), patient=True)

    def give_up_expired(self, now: float, limit: int) -> Receipt[list[Settled]]:
        return self._writer.submit(partial(push.give_up_expired, now=now, limit=limit))

    async def list_pending(self, peer: Peer, after: str, limit: int) -> list[Pending]:
        return await self._reader.run(push.list_pending, peer, after, limit)

    async def count_pending(self) -> list[Waiting]:
        return await self._reader.run(push.count_pending)

    async def list_topic_letters(self, *, topic: str, principal: str, before: int, limit: int) -> list[TopicLetter]:
        return await self._reader.run(push.list_letters, topic, principal, before, limit)
