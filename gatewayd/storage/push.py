"""What the store keeps of push: topics, members that acknowledge, deliveries that are pending, and dead letters.

Part of the store's contract (`base.Store` derives from it). Messages that nobody has to acknowledge never come here.
Writing methods return futures, so that whoever waits can be cut off and what depends on the outcome still goes on.
"""

from asyncio import Future
from collections.abc import Sequence
from typing import Protocol

from gatewayd.core.push import Peer, TopicDeadReason
from gatewayd.core.value import value


@value(frozen=True, slots=True)
class TopicRecord:
    """A push topic."""

    name: str
    owner: str
    """The principal that made it."""
    metadata: str
    """A JSON object."""
    created: float


@value(frozen=True, slots=True)
class MemberRecord:
    """A client that acknowledges on a topic."""

    topic: str
    peer: Peer
    joined: float
    seen: float
    """When it was last there; by this its membership ends one day."""


@value(frozen=True, slots=True)
class PushedMessage:
    """A message that somebody has to acknowledge."""

    id: str
    """Ids sort by time: what is pending is read in their order."""
    topic: str
    wire: bytes
    """The part of its encoding that all recipients share."""
    time: float
    expires: float
    """When it is given up, Unix seconds."""


@value(frozen=True, slots=True)
class Recipient:
    """Whom a message is for."""

    peer: Peer
    attempts: int
    """1 for one that it is handed to as soon as it is on disk, 0 for one that is away."""


@value(frozen=True, slots=True)
class Kept:
    """What became of a message."""

    message_id: str
    recipients: int
    duplicate: bool = False
    """Whether the key was seen before; then this is the first message, and nothing was written."""


@value(frozen=True, slots=True)
class Pending:
    """A delivery that is not acknowledged."""

    message_id: str
    topic: str
    wire: bytes
    attempts: int
    retries: int


@value(frozen=True, slots=True)
class Settled:
    """A delivery that is pending no more."""

    peer: Peer
    topic: str
    message_id: str
    size: int


@value(frozen=True, slots=True)
class Waiting:
    """How much is pending for one client on one topic."""

    peer: Peer
    topic: str
    count: int
    size: int
    """Bytes of the messages."""


@value(frozen=True, slots=True)
class TopicLetter:
    """A message that was given up for one client."""

    number: int
    peer: Peer
    topic: str
    message_id: str
    reason: TopicDeadReason
    attempts: int
    time: float
    wire: bytes


class PushTables(Protocol):
    """See the module's docstring, and `storage.base` for what holds for every method."""

    def add_topic(self, record: TopicRecord) -> Future[bool]:
        """Whether it was new; an old one stays as it is."""
        ...

    def remove_topic(self, name: str) -> Future[None]:
        """The topic and its members, not what is pending: that is for `end_member`, before."""
        ...

    async def list_topics(self, after: str, limit: int) -> list[TopicRecord]:
        """By name, those behind `after`."""
        ...

    def keep_member(self, record: MemberRecord) -> Future[None]:
        """New, or seen again."""
        ...

    def end_member(self, topic: str, peer: Peer, reason: TopicDeadReason, time: float) -> Future[list[Settled]]:
        """Forget a member; what was pending for it there becomes dead letters."""
        ...

    async def list_members(self, after: tuple[str, str, str], limit: int) -> list[MemberRecord]:
        """By topic, principal and client id, those behind `after`; ('', '', '') is the start."""
        ...

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
    ) -> Future[Kept]:
        """Write a message and its deliveries; for the `refused` a dead letter each (queue_full).

        With a `key`, one that was seen in `scope` before returns what became of the first, or fails with `IdConflict`
        when its digest was another. `count` is what the duplicate will be told as recipients.
        """
        ...

    def retry_letter(self, number: int, message: PushedMessage, recipient: Recipient) -> Future[Kept]:
        """Write the message and its delivery in the place of the dead letter; a `duplicate` if that is gone."""
        ...

    def settle(self, peer: Peer, message_ids: Sequence[str]) -> Future[list[Settled]]:
        """Acknowledged: these are pending no more. Those that were not are left out."""
        ...

    def give_up(
        self, peer: Peer, message_ids: Sequence[str], reason: TopicDeadReason, time: float
    ) -> Future[list[Settled]]:
        """As `settle`, with a dead letter each."""
        ...

    def note_attempts(self, peer: Peer, attempts: Sequence[tuple[str, int, int]]) -> Future[None]:
        """Message ids with their attempts and retries now; those that are not pending are left out."""
        ...

    def give_up_expired(self, now: float, limit: int) -> Future[list[Settled]]:
        """Dead letters of what has expired, at most `limit`."""
        ...

    async def list_pending(self, peer: Peer, after: str, limit: int) -> list[Pending]:
        """Oldest first, those behind the message `after`."""
        ...

    async def count_pending(self) -> list[Waiting]:
        """All that is pending; read once at start."""
        ...

    async def list_topic_letters(self, *, topic: str, principal: str, before: int, limit: int) -> list[TopicLetter]:
        """Newest first, with a number below `before` (0: from the newest); empty arguments are no filter."""
        ...
