"""All conversations of the gateway: who is connected, how many may be, and what a lost connection leaves behind.

A connection that breaks leaves the places of its subscriptions and its unanswered sends for `reconnect_timeout`; the
resume token of its welcome takes them up. The token is a capability bound to the principal and the client id. What is
addressed to the client waits for it for as long (`directory.py`), with or without the token.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import gatewayd
from gatewayd.access.principals import LostProof, Principal
from gatewayd.conversation.client import Client, Left
from gatewayd.conversation.conversation import Conversation
from gatewayd.conversation.directory import Directory
from gatewayd.conversation.doors import Doors
from gatewayd.conversation.hearing import Hearing
from gatewayd.conversation.heartbeats import Heartbeats
from gatewayd.conversation.writing import LOOK
from gatewayd.core.clock import Clock, Randomness
from gatewayd.core.errors import (
    ConnectionReplaced,
    Draining,
    GatewayError,
    LimitExceeded,
    UnsupportedProtocol,
)
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.frames import (
    PROTOCOL,
    EndReason,
    Goodbye,
    Hello,
    Policy,
    RecoveryStep,
    Refused,
    ServerFrame,
    Welcome,
)
from gatewayd.core.ids import IdSource
from gatewayd.service import TaskSet
from gatewayd.storage.base import Store
from gatewayd.storage.records import Published

log = logging.getLogger("gatewayd.conversation")

FEATURES = (
    *("subscribe", "publish", "send", "resume", "addressed", "snapshot", "workers", "trigger", "controls"),
    *("batches", "worker_messages", "worker_checkpoints", "registration_ended"),
)
"""What this version speaks on a stream; `push` comes with it where it is enabled."""


class ConversationHub:
    """Opens, counts, resumes and ends conversations."""

    def __init__(
        self,
        *,
        doors: Doors,
        directory: Directory,
        store: Store,
        clock: Clock,
        randomness: Randomness,
        ids: IdSource,
        end_of_log: Callable[[], Cursor],
    ) -> None:
        self._doors = doors
        self._directory = directory
        self._store = store
        self.hearing = Hearing(clock)
        self._clock = clock
        self._randomness = randomness
        self._ids = ids
        self._end_of_log = end_of_log
        self._open: dict[Conversation, str] = {}
        self._resumed: dict[Conversation, tuple[str, Left]] = {}
        """By which token, and what they took up."""
        self._draining = False
        self._tasks = TaskSet("hub")
        self._heartbeats = Heartbeats(
            clock, interval=lambda: doors.settings().heartbeat_interval, beat=self._beat, upkeep=directory.expire
        )
        doors.bus.on_addressed(directory.deliver)

    async def start(self) -> None:
        """Begin to tick."""
        self._tasks.start(self._heartbeats.run(), name="heartbeat")
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
        conversation = Conversation(principal=principal, peer=peer, doors=self._doors, host=self)
        self._open[conversation] = ""
        return conversation

    def greet(self, conversation: Conversation, hello: Hello) -> ServerFrame:
        """See `Host`."""
        if not hello.protocol_min <= PROTOCOL <= hello.protocol_max:
            error = UnsupportedProtocol(
                f"this gateway speaks protocol {PROTOCOL}, the client {hello.protocol_min} to {hello.protocol_max}"
            )
            return Refused(error, RecoveryStep.UPGRADE_CLIENT)
        self._displace(conversation)
        before = self._directory.connect(conversation, hello.resume_token)
        token = self._randomness.token(24).hex()
        self._open[conversation] = token
        self._heartbeats.add(conversation)
        if before is not None:
            self._resumed[conversation] = (hello.resume_token, before)
            for waiting in before.waiting:
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
            features=(*FEATURES, "push") if self._doors.push.is_on else FEATURES,
            policy=policy,
            resume_token=token,
            resumed=before is not None,
            lost=before.lost if before else (),
            cursor=self._end_of_log(),
            scopes=conversation.principal.scopes.texts(),
        )

    def _displace(self, conversation: Conversation) -> None:
        """A connection of this client that seems open still is ended, since the client is here."""
        other = self._directory.connection(conversation.principal.id, conversation.client_id)
        if other is not None:
            log.info("connection_replaced", extra={"client": other.client_id})
            other.end(_replaced(other.client_id))
            self._park(other, self._open[other], EndReason.CONNECTION_LOST)
            self._went(other, "replaced")

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
            self._directory.leave(conversation, None)
            self._went(conversation, reason.value if reason else "closed")
        self._open.pop(conversation, None)
        self._resumed.pop(conversation, None)
        self._heartbeats.remove(conversation)
        await conversation.close(reason or EndReason.UNSUBSCRIBED)

    def _park(self, conversation: Conversation, token: str, reason: EndReason) -> None:
        self._open.pop(conversation, None)
        self._heartbeats.remove(conversation)
        token_before, before = self._resumed.pop(conversation, ("", None))
        filters = conversation.subscriptions.filters
        lost, waiting = conversation.detach(reason)
        if before is not None and not conversation.has_spoken:  # its welcome may have been lost
            lost, filters, waiting = before.lost, before.filters, before.waiting
        held = self._doors.settings().reconnect_timeout
        left = Left(
            token=token,
            lost=lost,
            filters=filters,
            waiting=waiting,
            version=conversation.client_version,
            opened=conversation.opened,
            since=self._clock.now(),
            until=self._clock.monotonic() + held,
            earlier_token="" if conversation.has_spoken else token_before,
        )
        self._directory.leave(conversation, left if held else None)

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

    def end_lost(self, lost: LostProof) -> None:
        """End the conversations that were opened with these tokens."""
        for conversation in list(self._open):
            if conversation.principal.token_sha256 in lost:
                conversation.end(lost.error())

    def count_of(self, subject: str) -> int:
        """Open conversations of a principal, or of a token by its SHA-256."""
        return sum(1 for one in self._open if subject in (one.principal.id, one.principal.token_sha256))

    def conversations(self) -> list[Conversation]:
        """Those that have said hello."""
        return [one for one in self._open if one.client_id]

    def everyone(self) -> list[Conversation]:
        """All, also those that have yet to say hello: their client id is empty."""
        return list(self._open)

    def away(self) -> Iterable[Client]:
        """Clients whose connection broke and who are expected back."""
        return self._directory.away()

    @property
    def count(self) -> int:
        return len(self._open)

    # Upkeep

    def _beat(self, conversation: Conversation, interval: float) -> None:
        conversation.tick()
        if conversation.has_spoken:
            self._resumed.pop(conversation, None)
        self._doors.bus.publish(self._event(conversation, EventType.HEARTBEAT, {"interval": interval}))

    async def _watch_writes(self) -> None:
        while True:
            await self._clock.sleep(LOOK)
            now = self._clock.monotonic()
            for conversation in list(self._open):
                conversation.writing.look(now)

    def served(self, conversation: Conversation, kind: EventType, agent: str, data: Mapping[str, object]) -> None:
        """See `Host`: an event of the agent's stream."""
        self._directory.served(conversation, agent, served=kind is EventType.CONNECT)
        self._append(replace(self._event(conversation, kind, data), stream_id=agent))

    def _record(self, conversation: Conversation, kind: EventType, data: Mapping[str, object]) -> None:
        self._append(self._event(conversation, kind, data))

    def _append(self, event: Event) -> None:
        try:
            self._store.append([Published(event)], scope="")
        except GatewayError as error:
            log.warning("event_not_recorded", extra={"type": event.type.label, "reason": error.reason})

    def _event(self, conversation: Conversation, kind: EventType, data: Mapping[str, object]) -> Event:
        ephemeral = kind is EventType.HEARTBEAT
        return Event(
            id=self._ids.new(),
            type=kind,
            source="gatewayd",
            stream_id=conversation.client_id,
            target=conversation.client_id if ephemeral else "",
            owner=conversation.principal.id if ephemeral else "",
            time=self._clock.now(),
            durable=not ephemeral,
            data=data,
        )


def _replaced(client_id: str) -> ConnectionReplaced:
    return ConnectionReplaced(
        f"another process uses client id {client_id!r}: its connection took the place of this one",
        metadata={"client_id": client_id},
    )
