"""Sessions: which conversation a message belongs to, its history, and when it ends.

I own the active sessions' records in memory and the rules of reset and expiry; the router writes them, together with
the message that touched them, as one unit. I never decide which agent answers.
"""

import asyncio
import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from gatewayd.config.model import ChannelSection, GatewayConfig
from gatewayd.core.clock import Clock
from gatewayd.core.errors import LimitExceeded, NotFound
from gatewayd.core.event import Event, EventType
from gatewayd.core.ids import IdSource
from gatewayd.core.message import InboundMessage
from gatewayd.core.value import value
from gatewayd.storage.base import Store
from gatewayd.storage.recent import RecentHistories
from gatewayd.storage.records import HistoryEntry, SessionRecord

CACHED_SESSIONS = 10_000
"""Active sessions whose record is kept in memory; the others are read from the store when a message comes."""
_SWEEP_BITE = 500
_DAY = 86_400.0
_HOUR = 3_600.0


def chat_key(section: ChannelSection, message: InboundMessage) -> str:
    """The key of a chat session; JSON, so that no id can pretend to be two."""
    peer = "" if section.session_scope == "per_chat" else message.peer
    return json.dumps(["chat", message.channel, message.account, message.chat, peer, message.thread])


def chat_principal(section: ChannelSection, message: InboundMessage) -> str:
    """Whose a chat session is: the person's, or with `per_chat` the room's."""
    who = f"room/{message.chat}" if section.session_scope == "per_chat" else message.peer
    return person(message.channel, who)


def person(channel: str, peer: str) -> str:
    """The principal of a person on a channel."""
    return f"chat:{channel}/{peer}"


def client_key(principal: str, client_id: str, agent: str, channel: str = "") -> str:
    """The key of a session over gRPC; through a channel its agent is an attribute, as in chats."""
    return json.dumps(["client", principal, client_id, channel or agent, bool(channel)])


@value(frozen=True, slots=True)
class SessionSubject:
    """Whom a session is with, as its key says. For a client's session all but `client_id` is ''."""

    channel: str = ""
    account: str = ""
    chat: str = ""
    peer: str = ""
    """'' also in a session that a room shares."""
    thread: str = ""
    client_id: str = ""


def subject_of(key: str) -> SessionSubject:
    """Read a key that `chat_key` or `client_key` has built."""
    kind, *parts = json.loads(key)
    return SessionSubject(*parts) if kind == "chat" else SessionSubject(client_id=parts[1])


@value(frozen=True, slots=True)
class Opened:
    """The session of a message, and what its opening means for the log."""

    record: SessionRecord
    is_new: bool
    events: tuple[Event, ...]


class SessionManager:
    """All sessions of one gateway. The configuration is read at use, so a reload takes effect with the next message."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        ids: IdSource,
        config: GatewayConfig,
        is_busy: Callable[[str], bool] = lambda _session_id: False,
    ) -> None:
        """`is_busy` says whether work of that session is queued or runs: until its end the session goes on."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self.config = config
        self._is_busy = is_busy
        self._active: OrderedDict[str, SessionRecord] = OrderedDict()
        self._keys: dict[str, str] = {}
        """Of the active sessions, by id."""
        self._histories = RecentHistories()
        self._reading: dict[str, asyncio.Event] = {}
        self._per_agent: Counter[str] = Counter()

    async def start(self) -> None:
        """Count what the store holds; needed before the first `open`."""
        self._per_agent = Counter(await self._store.count_active_sessions())

    @property
    def active_count(self) -> int:
        return self._per_agent.total()

    def per_agent(self) -> dict[str, int]:
        """Active sessions by agent."""
        return {agent: count for agent, count in self._per_agent.items() if count}

    # Opening

    async def open(
        self, key: str, *, principal: str, agent: str, channel: str, rule: str, policy: ChannelSection | None
    ) -> Opened:
        """The active session of that key, or a new one; the old one ends first when its reset is due.

        After the one read that may be needed, nothing awaits: two first messages of one key get one session, and
        keep their order.
        """
        while key not in self._active and not await self._look_up(key):
            continue
        record = self._active.get(key)
        now = self._clock.now()
        events: list[Event] = []
        if record is not None:
            reason = self._reset_reason(record, policy, now)
            if reason:
                self._end(record, reason, now)
                record = None
        is_new = record is None
        if record is None:
            record = self._create(key, now, principal=principal, agent=agent, channel=channel, rule=rule)
            events.append(self._event(EventType.SESSION_STARTED, record, now, "first message"))
        else:
            record = replace(record, agent=agent, rule=rule, last_active=now)
        self._remember(record)
        return Opened(record, is_new, tuple(events))

    async def _look_up(self, key: str) -> bool:
        """Read the key's session from the store; False for those who waited for another's reading, in their order."""
        if (reading := self._reading.get(key)) is not None:
            await reading.wait()
            return False
        reading = self._reading[key] = asyncio.Event()
        try:
            stored = await self._store.active_session(key)
        finally:
            del self._reading[key]
            reading.set()
        if stored is not None and key not in self._active:
            self._remember(stored)
        return True

    async def resume(self, session_id: str, may_see: Callable[[str], bool]) -> Opened:
        """An existing session by id, if the caller may see its owner's; else `NotFound` too: ids tell nothing."""
        record = await self._store.get_session(session_id)
        if record is None or record.ended or not may_see(record.principal):
            raise NotFound(f"no session {session_id!r}")
        record = replace(self._active.get(record.key, record), last_active=self._clock.now())
        self._remember(record)
        return Opened(record, False, ())

    def owner_of(self, session_id: str) -> str | None:
        """The principal of a session that is going on; None for one that is not in memory."""
        record = self._active.get(self._keys.get(session_id, ""))
        return record.principal if record is not None else None

    async def undo(self, opened: Opened) -> None:
        """Forget a session that was opened for a message which was not taken in after all, unless another one was."""
        if not opened.is_new or await self._store.get_session(opened.record.id) is not None:
            return
        current = self._active.get(opened.record.key)
        if current is not None and current.id == opened.record.id:
            self._forget(current)

    def _create(self, key: str, now: float, *, principal: str, agent: str, channel: str, rule: str) -> SessionRecord:
        limit = self.config.gateway.max_sessions_per_agent
        if limit and self._per_agent[agent] >= limit:
            raise LimitExceeded(
                f"agent {agent!r} has its {limit} sessions (gateway.max_sessions_per_agent)",
                metadata={"limit": "max_sessions_per_agent"},
                retry_after=self.config.gateway.session_config.timeout,
            )
        self._per_agent[agent] += 1
        return SessionRecord(self._ids.new(), key, principal, agent, channel, rule, created=now, last_active=now)

    def _remember(self, record: SessionRecord) -> None:
        before = self._active.get(record.key)
        if before is not None and before.agent != record.agent:
            self._per_agent[before.agent] -= 1
            self._per_agent[record.agent] += 1
        self._active[record.key] = record
        self._active.move_to_end(record.key)
        self._keys[record.id] = record.key
        while len(self._active) > CACHED_SESSIONS:
            _, oldest = self._active.popitem(last=False)
            self._keys.pop(oldest.id, None)

    # Ending

    def _reset_reason(self, record: SessionRecord, policy: ChannelSection | None, now: float) -> str:
        if self._is_busy(record.id):
            return ""
        idle = now - record.last_active
        if idle > self.config.gateway.session_config.timeout:
            return "idle: gateway.session_config.timeout"
        if policy is None or policy.session.reset == "none":
            return ""
        if policy.session.reset == "idle":
            return "idle: session.idle_minutes" if idle > policy.session.idle_minutes * 60 else ""
        boundary = (now - policy.session.at_hour * _HOUR) // _DAY * _DAY + policy.session.at_hour * _HOUR
        return "daily: session.at_hour" if record.last_active < boundary else ""

    def _end(self, record: SessionRecord, reason: str, now: float) -> None:
        """Submitted before the new session's own unit, so that one key never has two."""
        self._forget(record)
        self._store.end_session(record.id, reason, now, [self._event(EventType.SESSION_ENDED, record, now, reason)])

    def _forget(self, record: SessionRecord) -> None:
        if self._active.get(record.key, record).id == record.id:
            self._active.pop(record.key, None)
        self._keys.pop(record.id, None)
        self._histories.forget(record.id)
        self._per_agent[record.agent] -= 1

    async def reset(self, session_id: str, reason: str) -> bool:
        """End a session now; the next message starts a new one. Whether there was one."""
        record = await self._store.get_session(session_id)
        return record is not None and not record.ended and await self._close(record, reason)

    async def _close(self, record: SessionRecord, reason: str) -> bool:
        now = self._clock.now()
        events = [self._event(EventType.SESSION_ENDED, record, now, reason)]
        ended = await self._store.end_session(record.id, reason, now, events)
        if ended:
            self._forget(self._active.get(record.key, record))
        return ended

    async def erase(self, session_id: str) -> bool:
        """End it, and delete what was said in it."""
        await self.reset(session_id, "erased")
        self._histories.forget(session_id)
        return await self._store.erase_session(session_id)

    async def expire(self) -> int:
        """End sessions that were idle too long since their last turn ended; called every half minute. How many."""
        idle_since = self._clock.now() - self.config.gateway.session_config.timeout
        expired = 0
        for record in await self._store.idle_sessions(idle_since, _SWEEP_BITE):
            fresh = self._active.get(record.key)
            used = fresh is not None and fresh.id == record.id and fresh.last_active > idle_since
            if not used and not self._is_busy(record.id):
                expired += await self._close(record, "idle: gateway.session_config.timeout")
        return expired

    # History

    async def history(self, session_id: str) -> Sequence[HistoryEntry]:
        """What was said so far, within the configured bounds, oldest first."""
        known = self._histories.get(session_id)
        if known is None:
            bounds = self.config.gateway.session_config
            known = tuple(await self._store.history(session_id, bounds.max_messages, bounds.max_bytes))
            self._histories.keep(session_id, known)
        return known

    def extend(self, session_id: str, turn: Sequence[HistoryEntry]) -> None:
        """Add what a committed turn said. Its end is when the session was active last, as the store has it too."""
        active = self._active.get(self._keys.get(session_id, ""))
        if active is not None:
            self._active[active.key] = replace(active, last_active=max(active.last_active, self._clock.now()))
        bounds = self.config.gateway.session_config
        if not bounds.persist and session_id not in self._histories:
            self._histories.keep(session_id, ())  # there is no other place for it
        self._histories.extend(session_id, turn, max_messages=bounds.max_messages, max_bytes=bounds.max_bytes)

    def _event(self, kind: EventType, record: SessionRecord, now: float, reason: str) -> Event:
        return Event(
            id=self._ids.new(),
            type=kind,
            source="gatewayd",
            stream_id=record.channel or record.agent,
            time=now,
            session_id=record.id,
            owner=record.principal,
            data={"session_id": record.id, "agent": record.agent, "reason": reason},
        )
