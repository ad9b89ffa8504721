"""Topics, the clients on them, and what ties the two: the state of push as it stands in memory."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gatewayd.core.push import ONLINE, MemberInfo, Peer, TopicEndReason
from gatewayd.push.queue import Bounds, PushQueue


class Reader(Protocol):
    """Who takes what waits for a client: its stream, or its polls."""

    polls: bool

    def wake(self) -> None:
        """There may be something to take."""
        ...

    def ended(self, topic: str, reason: TopicEndReason) -> None:
        """The client is not on that topic any more, by no wish of its own."""
        ...


class Held:
    """What is held in memory for all clients whose connection broke, in bytes."""

    def __init__(self) -> None:
        self.size = 0


class Topic:
    """One topic."""

    __slots__ = ("created", "members", "metadata", "name", "owner", "pending", "present", "tail", "unsettled")

    def __init__(self, name: str, owner: str, metadata: str, created: float) -> None:
        self.name = name
        self.owner = owner
        self.metadata = metadata
        """A JSON object."""
        self.created = created
        self.members: dict[Peer, Member] = {}
        self.present = 0
        """Members that are there."""
        self.pending = 0
        """Deliveries that are to be acknowledged, of all members."""
        self.tail: asyncio.Future[Any] | None = None
        """The last message that was given to the store; later ones that need no store wait behind it."""
        self.unsettled = 0
        """Messages that the store has not answered."""


class Client:
    """One client that is on at least one topic, or about to be."""

    __slots__ = (
        "behind_from",
        "check_at",
        "held_until",
        "loaded_to",
        "loading",
        "members",
        "offline_at",
        "peer",
        "pending",
        "pending_bytes",
        "present",
        "queue",
        "reader",
        "session",
        "skipped",
    )

    def __init__(self, peer: Peer, bounds: "Callable[[Client], Bounds]") -> None:
        self.peer = peer
        self.members: dict[str, Member] = {}
        self.queue = PushQueue(lambda: bounds(self))
        self.reader: Reader | None = None
        self.session = 0
        """Grows with each reader, so that work for an earlier one can see that it is late."""
        self.present = False
        self.offline_at: float | None = None
        """When it counts as gone, by the monotonic clock; None while its connection is open, or once it is gone."""
        self.held_until: float | None = None
        """Until when what needs no acknowledgement is held for a connection that broke, by the monotonic clock."""
        self.pending = 0
        """Deliveries that are to be acknowledged, in memory or not."""
        self.pending_bytes = 0
        self.loaded_to = ""
        """The last message that came into memory; what is behind it may be on disk only."""
        self.behind_from = ""
        """The last message that is known to be on disk and did not come into memory."""
        self.skipped = ""
        """The same, of those that came while the disk was being read."""
        self.loading = False
        self.check_at: float | None = None
        """When its deadlines are looked at next."""

    @property
    def behind(self) -> bool:
        """Whether something is on disk that should come into memory."""
        return self.behind_from > self.loaded_to

    @property
    def holding(self) -> bool:
        """Whether messages that need no acknowledgement are put by for it."""
        return self.reader is not None or self.held_until is not None

    def wake(self) -> None:
        if self.reader is not None and self.queue.has_news:
            self.reader.wake()


class Member:
    """A client on a topic."""

    __slots__ = ("acknowledged", "client", "joined", "metadata", "pending", "seen", "status", "topic", "watches")

    def __init__(self, topic: Topic, client: Client, joined: float, *, acknowledged: bool) -> None:
        self.topic = topic
        self.client = client
        self.joined = joined
        self.seen = joined
        """When it was last there; the store knows it to a tenth of `membership_ttl`."""
        self.acknowledged = acknowledged
        self.watches = False
        """Whether it is told who comes and goes."""
        self.status = ONLINE
        self.metadata: Mapping[str, Any] = {}
        self.pending = 0

    def info(self) -> MemberInfo:
        """What others may see of it."""
        present = self.client.present
        return MemberInfo(
            self.client.peer,
            present,
            self.acknowledged,
            self.status if present else "",
            self.metadata if present else {},
            self.joined,
            self.pending,
        )
