"""All conversations of the gateway: who is connected, how many may be, and what a lost connection leaves behind.

A connection that breaks leaves the places of its subscriptions and its unanswered sends for `reconnect_timeout`; the
resume token of its welcome takes them up. The token is a capability bound to the principal and the client id.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping

import gatewayd
from gatewayd.access.principals import Principal
from gatewayd.conversation.conversation import Conversation
from gatewayd.conversation.doors import Doors
from gatewayd.conversation.sends import Waiting
from gatewayd.conversation.writing import LOOK
from gatewayd.core.clock import Clock, Randomness
from gatewayd.core.errors import (
    ConnectionReplaced,
    Draining,
    GatewayError,
    LimitExceeded,
    Unauthenticated,
    UnsupportedProtocol,
)
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.frames import (
    PROTOCOL,
    EndReason,
    Goodbye,
    Hello,
    LostSubscription,
    Policy,
    RecoveryStep,
    Refused,
    ServerFrame,
    Welcome,
)
from gatewayd.core.ids import IdSource
from gatewayd.core.value import value
from gatewayd.service import TaskSet
from gatewayd.storage.base import Store
from gatewayd.storage.records import Published

log = logging.getLogger("gatewayd.conversation")

FEATURES = ("subscribe", "publish", "send", "resume")
"""What this version speaks on a stream."""
LONGEST_SLEEP = 1.0
"""Seconds after which a changed `heartbeat_interval` holds."""
MAX_PARKED = 10_000
"""Lost connections that are remembered; beyond it the oldest is forgotten."""


@value(frozen=True, slots=True)
class _Parked:
    principal: str
    client_id: str
    lost: tuple[LostSubscription, ...]
    waiting: tuple[Waiting, ...]
    until: float


class ConversationHub:
    """Opens, counts, resumes and ends conversations."""

    def __init__(
        self,
        *,
        doors: Doors,
        store: Store,
        clock: Clock,
        randomness: Randomness,
        ids: IdSource,
        end_of_log: Callable[[], Cursor],
    ) -> None:
        self._doors = doors
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._ids = ids
        self._end_of_log = end_of_log
        self._open: dict[Conversation, str] = {}
        self._parked: OrderedDict[str, _Parked] = OrderedDict()
        self._draining = False
        self._tasks = TaskSet("hub")

    async def start(self) -> None:
        """Begin to tick."""
        self._tasks.start(self._heartbeat(), name="heartbeat")
        self._tasks.start(self._watch_writes(), name="writes")

    async def stop(self) -> None:
        """End what is still open."""
        self.end_all()
        await self._tasks.close()

    # Opening

    def open(self, principal: Principal, peer: str) -> Conversation:
        """A conversation for a transport to drive; raises when there is no room for it."""
        if self._draining:
            raise Draining("the gateway is stopping", retry_after=2.0)
        most = self._doors.settings().max_connections
        if len(self._open) >= most:
            raise LimitExceeded(
                f"{most} connections are open (gateway.max_connections)",
                metadata={"limit": "max_connections"},
                retry_after=5.0,
            )
        conversation = Conversation(principal=principal, peer=peer, doors=self._doors, greet=self._greet)
        self._open[conversation] = ""
        return conversation

    def _greet(self, conversation: Conversation, hello: Hello) -> ServerFrame:
        if not hello.protocol_min <= PROTOCOL <= hello.protocol_max:
            error = UnsupportedProtocol(
                f"this gateway speaks protocol {PROTOCOL}, the client {hello.protocol_min} to {hello.protocol_max}"
            )
            return Refused(error, RecoveryStep.UPGRADE_CLIENT)
        before = self._take_up(conversation, hello.resume_token)
        token = self._randomness.token(24).hex()
        self._open[conversation] = token
        for waiting in before.waiting if before else ():
            conversation.await_reply(waiting)
        data = {"client_id": hello.client_id, "kind": "client", "resumed": before is not None}
        self._record(conversation, EventType.CONNECT, data)
        settings = self._doors.settings()
        policy = Policy(
            max_message_bytes=settings.limits.message_bytes,
            max_queue_bytes=settings.limits.queue_bytes,
            heartbeat_interval=settings.heartbeat_interval,
            reconnect_timeout=settings.reconnect_timeout,
        )
        return Welcome(
            protocol=PROTOCOL,
            server_version=gatewayd.__version__,
            features=FEATURES,
            policy=policy,
            resume_token=token,
            resumed=before is not None,
            lost=before.lost if before else (),
            cursor=self._end_of_log(),
        )

    def _take_up(self, conversation: Conversation, token: str) -> _Parked | None:
        """What the token's connection left; one that seems open still is ended, since its client is here."""
        for other, its_token in list(self._open.items()):
            same = other.client_id == conversation.client_id and other.principal.id == conversation.principal.id
            if same and other is not conversation:
                log.info("connection_replaced", extra={"client": other.client_id})
                other.end(_replaced(other.client_id))
                self._park(other, its_token, EndReason.CONNECTION_LOST)
                self._went(other, "replaced")
        parked = self._parked.pop(token, None) if token else None
        if parked is None or parked.until < self._clock.monotonic():
            return None
        if (parked.principal, parked.client_id) != (conversation.principal.id, conversation.client_id):
            return None
        return parked

    # Ending

    async def leave(self, conversation: Conversation, reason: EndReason | None = EndReason.CONNECTION_LOST) -> None:
        """The transport is gone; called once for each opened conversation, whatever happened to it.

        Without a reason the client itself has closed: it leaves nothing behind.
        """
        token = self._open.get(conversation, "")
        reason = EndReason.DRAINING if self._draining else reason
        if token and reason:
            self._park(conversation, token, reason)
        if token:
            self._went(conversation, reason.value if reason else "closed")
        self._open.pop(conversation, None)
        await conversation.close(reason or EndReason.UNSUBSCRIBED)

    def _park(self, conversation: Conversation, token: str, reason: EndReason) -> None:
        self._open.pop(conversation, None)
        lost, waiting = conversation.detach(reason)
        until = self._clock.monotonic() + self._doors.settings().reconnect_timeout
        self._parked[token] = _Parked(conversation.principal.id, conversation.client_id, lost, waiting, until)
        while len(self._parked) > MAX_PARKED:
            self._parked.popitem(last=False)

    def _went(self, conversation: Conversation, reason: str) -> None:
        self._record(conversation, EventType.DISCONNECT, {"client_id": conversation.client_id, "reason": reason})

    def drain(self, reason: str) -> None:
        """Open nothing more and tell every client to come back, with the place to go on from.

        Who waits for a reply keeps its connection until it has come, or until `end_all`.
        """
        self._draining = True
        for conversation in list(self._open):
            conversation.goodbye(Goodbye(reason, reconnect_after=1.0, cursor=self._end_of_log()))

    def end_all(self) -> None:
        """End every conversation, replies or not."""
        self._draining = True
        for conversation in list(self._open):
            conversation.end(None)

    def end_revoked(self, digests: frozenset[str]) -> None:
        """End the conversations that were opened with these tokens."""
        for conversation in list(self._open):
            if conversation.principal.token_sha256 in digests:
                conversation.end(Unauthenticated("the token was revoked or has expired"))

    def count_of(self, subject: str) -> int:
        """Open conversations of a principal, or of a token by its SHA-256."""
        return sum(1 for one in self._open if subject in (one.principal.id, one.principal.token_sha256))

    def conversations(self) -> list[Conversation]:
        """Those that have said hello."""
        return [one for one in self._open if one.client_id]

    def everyone(self) -> list[Conversation]:
        """All, also those that have yet to say hello: their client id is empty."""
        return list(self._open)

    @property
    def count(self) -> int:
        return len(self._open)

    # Upkeep

    async def _heartbeat(self) -> None:
        """The interval is looked at between short sleeps, so that a shorter one holds at once after a reload."""
        last = self._clock.monotonic()
        while True:
            interval = self._doors.settings().heartbeat_interval
            left = last + interval - self._clock.monotonic()
            if left > 0:
                await self._clock.sleep(min(left, LONGEST_SLEEP))
                continue
            last = now = self._clock.monotonic()
            for token in [token for token, parked in self._parked.items() if parked.until < now]:
                del self._parked[token]
            for conversation in self.conversations():
                conversation.tick()
                event = self._event(conversation, EventType.HEARTBEAT, {"interval": interval})
                self._doors.bus.publish(event)

    async def _watch_writes(self) -> None:
        while True:
            await self._clock.sleep(LOOK)
            now = self._clock.monotonic()
            for conversation in list(self._open):
                conversation.writing.look(now)

    def _record(self, conversation: Conversation, kind: EventType, data: Mapping[str, object]) -> None:
        try:
            self._store.append([Published(self._event(conversation, kind, data))], scope="")
        except GatewayError as error:
            log.warning("event_not_recorded", extra={"type": kind.label, "reason": error.reason})

    def _event(self, conversation: Conversation, kind: EventType, data: Mapping[str, object]) -> Event:
        ephemeral = kind is EventType.HEARTBEAT
        return Event(
            id=self._ids.new(),
            type=kind,
            source="gatewayd",
            stream_id=conversation.client_id,
            target=conversation.client_id if ephemeral else "",
            time=self._clock.now(),
            durable=not ephemeral,
            data=data,
        )


def _replaced(client_id: str) -> ConnectionReplaced:
    return ConnectionReplaced(
        f"another process uses client id {client_id!r}: its connection took the place of this one",
        metadata={"client_id": client_id},
    )
