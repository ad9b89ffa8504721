"""Who can be addressed: the clients that are connected and those that are away, by the names that events may target.

A client is a principal and a client id. One whose connection broke stays known for `reconnect_timeout`, with what it
left behind and what is addressed to it meanwhile.

**Two principals never meet.** A name means the publisher's own clients first, then an agent that it may send to
(`agent_mail.py`), then a client that has asked an agent of the publisher's and waits for the answer. Only who may see
the sessions of all principals may name the clients of others; to everybody else they do not exist. The owner of a
targeted event is the principal that it is for, so another's client of the same name does not get it.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Action
from gatewayd.conversation.agent_mail import AgentMail
from gatewayd.conversation.client import Client, Key, Left
from gatewayd.conversation.conversation import Conversation
from gatewayd.conversation.reading import Sight
from gatewayd.core.chunk import Chunk, alone
from gatewayd.core.clock import Clock
from gatewayd.core.errors import InvalidArgument, NotFound
from gatewayd.core.event import Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.topic import TopicPattern
from gatewayd.wire import with_wire

log = logging.getLogger("gatewayd.conversation")

MAX_AWAY = 10_000
"""Clients that are remembered while they are away; beyond it the one that went first is forgotten."""
AWAY_BYTES = 256 * 1024
"""Bytes of events that wait for one client that is away."""
ALL_AWAY_BYTES = 64 * 1024 * 1024
"""Bytes of events that wait for all that are away; beyond it what comes for them is dropped, and told as a gap."""


class Directory:
    """One per gateway. `is_agent` knows the agents of the configuration, `queue_bytes` the bound of a queue; `mail` is
    for the agents among them that workers answer for."""

    def __init__(
        self, clock: Clock, mail: AgentMail, *, is_agent: Callable[[str], bool], queue_bytes: Callable[[], int]
    ) -> None:
        self._clock = clock
        self._mail = mail
        self._is_agent = is_agent
        self._queue_bytes = queue_bytes
        self._clients: dict[Key, Client] = {}
        self._named: dict[str, tuple[Client, ...]] = {}
        """By client id; few principals have a client of the same."""
        self._own: dict[str, dict[Client, None]] = {}
        """By principal."""
        self._away: OrderedDict[Key, Client] = OrderedDict()
        self._away_bytes = 0

    # Coming and going

    def connection(self, principal: str, client_id: str) -> Conversation | None:
        """The open connection of a client."""
        client = self._clients.get((principal, client_id))
        return client.conversation if client is not None else None

    def connect(self, conversation: Conversation, token: str) -> Left | None:
        """The client is here; what its last connection left, if `token` is that connection's.

        What was addressed to it meanwhile is delivered, whether it resumes or begins anew.
        """
        self.expire()
        key = (conversation.principal.id, conversation.client_id)
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = Client(*key)
            self._own.setdefault(client.principal, {})[client] = None
            self._named[client.client_id] = (*self._named.get(client.client_id, ()), client)
        left, client.left = client.left, None
        if self._away.pop(key, None) is not None:
            self._away_bytes -= client.inbox.bytes
        resumed = left if left is not None and left.is_for(token) else None
        client.conversation = conversation
        places = [one.cursor for one in resumed.lost] if resumed else []
        lost = list(zip(resumed.filters, places, strict=True)) if resumed else []
        sight = Sight(conversation.principal, conversation.client_id)
        conversation.subscriptions.attach(client.inbox, lost, sight)
        return resumed

    def served(self, conversation: Conversation, agent: str, *, served: bool) -> None:
        """The client of an open connection answers for the agent from now on, or does so no more."""
        client = self._clients.get((conversation.principal.id, conversation.client_id))
        if client is not None:
            (self._mail.began if served else self._mail.ended)(agent, client)

    def leave(self, conversation: Conversation, left: Left | None) -> None:
        """The connection is gone; with `left` the client is expected back, without it is forgotten."""
        key = (conversation.principal.id, conversation.client_id)
        client = self._clients.get(key)
        if client is None or client.conversation is not conversation:
            return
        client.conversation = None
        client.inbox.wake = _away
        if left is None:
            self._forget(client)
            return
        client.left = left
        client.inbox.shrink(min(AWAY_BYTES, max(0, ALL_AWAY_BYTES - self._away_bytes)))
        self._away[key] = client
        self._away_bytes += client.inbox.bytes
        while len(self._away) > MAX_AWAY:
            self._forget(next(iter(self._away.values())))

    def expire(self) -> None:
        """Forget who has been away for too long, and tell how many events that lets go of."""
        now = self._clock.monotonic()
        gone = 0
        while (client := next(iter(self._away.values()), None)) is not None:
            assert client.left is not None
            if client.left.until >= now:
                break
            gone += client.inbox.events - self._forget(client)
        if gone:
            log.info("addressed_events_expired", extra={"events": gone})
        self._mail.expire()

    def _forget(self, client: Client) -> int:
        """Events that waited for it and go to others."""
        key = (client.principal, client.client_id)
        del self._clients[key]
        if self._away.pop(key, None) is not None:
            self._away_bytes -= client.inbox.bytes
        own, others = self._own[client.principal], [one for one in self._named[client.client_id] if one is not client]
        del own[client]
        if not own:
            del self._own[client.principal]
        if others:
            self._named[client.client_id] = tuple(others)
        else:
            del self._named[client.client_id]
        return self._mail.forgotten(client)

    def away(self) -> Iterable[Client]:
        """Those that are expected back."""
        return self._away.values()

    # Addressing

    def resolve(self, principal: Principal, client_id: str, event: Event) -> tuple[str, int]:
        """Whose the target of an event is that a client publishes, and how many clients that is.

        `NotFound` if it is nobody, `InvalidArgument` if it may be several.
        """
        self.expire()
        name = event.target
        known = self._known(name)
        if own := sum(1 for client in known if client.principal == principal.id):
            return principal.id, own
        if self._is_agent(name) and principal.scopes.allows(Action.SEND, name):
            return principal.id, self._mail.reaches(name, principal.id)
        everybody = frozenset(client.principal for client in known)
        asked = (principal.id, client_id), name, event.correlation_id
        owners = self._mail.askers.among(everybody, *asked)
        if not owners and principal.scopes.all_sessions:
            owners = everybody & {name} or everybody
        if len(owners) > 1:
            raise InvalidArgument(f"clients of {len(owners)} principals are called {name!r}")
        for owner in owners:
            return owner, sum(1 for client in known if client.principal == owner)
        raise NotFound(f"nobody is known as {name!r}: no client that is connected or expected back, and no agent")

    def _known(self, name: str) -> Collection[Client]:
        """The clients of that id, and those of that principal."""
        named, own = self._named.get(name, ()), self._own.get(name)
        if own is None:
            return named
        return {**dict.fromkeys(named), **own} if named else own

    def audience(self, event: Event) -> int:
        """How many clients a broadcast reaches now."""
        return sum(1 for _ in self._audience(event))

    def deliver(self, event: Event) -> None:
        """Give an event that has a target, or is a broadcast, to those whose subscriptions do not bring it."""
        chunk: Chunk | None = None
        owner, reached = event.owner if event.target else "", False
        for client in self._known(event.target) if event.target else list(self._audience(event)):
            if owner and client.principal != owner:
                continue
            reached = True
            conversation = client.conversation
            if conversation is not None and conversation.subscriptions.bring(event):
                continue
            chunk = chunk or alone(with_wire(event))
            if conversation is None:
                self._keep(client, chunk)
            else:
                client.inbox.put(chunk, self._queue_bytes())
        if event.target and not reached:
            self._mail.put(event)

    def _audience(self, event: Event) -> Iterator[Client]:
        topic = TopicPattern(tuple(event.topic.split("."))) if event.topic else None
        wanted = EventFilter(frozenset({EventType.BROADCAST}), topic=topic)
        sees: dict[int, bool] = {}
        for client in self._clients.values():
            if client.conversation is None:
                continue
            principal = client.conversation.principal
            seen = sees.get(id(principal.scopes))
            if seen is None:
                seen = sees[id(principal.scopes)] = principal.scopes.may_subscribe(wanted)
            if seen and principal.may_see(event.owner):
                yield client

    def _keep(self, client: Client, chunk: Chunk) -> None:
        before = client.inbox.bytes
        room = self._away_bytes - before + chunk.size <= ALL_AWAY_BYTES
        client.inbox.put(chunk, AWAY_BYTES if room else 0)
        self._away_bytes += client.inbox.bytes - before


def _away() -> None:
    """Nobody takes from the inbox now."""
