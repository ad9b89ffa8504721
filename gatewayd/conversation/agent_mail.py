"""What is addressed to agents that workers answer for: it comes to one of the workers, or waits until there is one.

An agent has no connection of its own, so an event with it as target goes to the inbox of a client that has registered
for it: the one that would get the calls of that session. Whose that client is does not matter: the publisher may send
to the agent. **Two principals meet here, and only so far:** the worker may answer the client that asked, by the event's
correlation id; nothing else of that client's principal exists for it.
"""

import logging
from collections import deque
from collections.abc import Callable

from gatewayd.agents.calls import rank
from gatewayd.conversation.askers import Askers
from gatewayd.conversation.client import Client
from gatewayd.core.chunk import Chunk, alone
from gatewayd.core.clock import Clock
from gatewayd.core.errors import NotFound
from gatewayd.core.event import Event
from gatewayd.wire import with_wire

log = logging.getLogger("gatewayd.conversation")

WAITING_BYTES = 256 * 1024
"""Bytes of events that wait for one agent without a worker; beyond it the oldest are dropped, and told as a gap."""


class _Waiting:
    """The events that wait for one agent."""

    __slots__ = ("bytes", "chunks", "dropped")

    def __init__(self) -> None:
        self.chunks: deque[tuple[float, Chunk]] = deque()
        """Each with the monotonic time until which it is kept."""
        self.bytes = 0
        self.dropped = 0

    def drop(self) -> None:
        """Let go of the oldest."""
        _, chunk = self.chunks.popleft()
        self.bytes -= chunk.size
        self.dropped += len(chunk)


class AgentMail:
    """Owned by the directory. `is_remote` knows the agents of workers; an event is `kept` for so many seconds."""

    def __init__(
        self,
        clock: Clock,
        *,
        is_remote: Callable[[str], bool],
        kept: Callable[[], float],
        queue_bytes: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._is_remote = is_remote
        self._kept = kept
        self._queue_bytes = queue_bytes
        self._workers: dict[str, dict[Client, None]] = {}
        self._waiting: dict[str, _Waiting] = {}
        self.askers = Askers()
        self._senders: set[tuple[str, str]] = set()
        """Principals and the agents that they have addressed: as many as the configuration has of both, at most."""

    # Workers

    def began(self, agent: str, client: Client) -> None:
        """The client answers for the agent from now on: what waited is its."""
        self._workers.setdefault(agent, {})[client] = None
        self.expire()
        waiting = self._waiting.pop(agent, None)
        if waiting is None:
            return
        if waiting.dropped:
            client.inbox.miss(waiting.dropped)
        for _, chunk in waiting.chunks:
            self._hand(client, chunk.events[0], chunk)

    def ended(self, agent: str, client: Client) -> None:
        """The client does not answer for the agent any more, or its connection is gone."""
        workers = self._workers.get(agent, {})
        workers.pop(client, None)
        if not workers:
            self._workers.pop(agent, None)

    def forgotten(self, client: Client) -> int:
        """The client is gone for good. What it was not sent of the mail of agents goes to others: so many events."""
        for agent in [agent for agent, workers in self._workers.items() if client in workers]:
            self.ended(agent, client)
        passed_on = 0
        for event in client.inbox.pending():
            own = event.target in (client.client_id, client.principal) and event.owner in ("", client.principal)
            if event.target and not own:
                self.put(event, is_older=True)
                passed_on += 1
        return passed_on

    # Mail

    def reaches(self, agent: str, principal: str) -> int:
        """How many workers an event for it reaches now that this principal publishes, who may send to it: one or none.

        `NotFound` if none, and it would not be kept.
        """
        if not self._is_remote(agent):
            return 0
        self._senders.add((principal, agent))
        if agent in self._workers:
            return 1
        if not self._kept():
            raise NotFound(f"no worker is there for the agent {agent!r}, and gateway.reconnect_timeout is 0")
        return 0

    def put(self, event: Event, *, is_older: bool = False) -> None:
        """Give it to a worker of its target, or keep it until one comes; one for another agent comes to nobody.

        `is_older`: than what waits, since a worker has had it.
        """
        # Its workers may be there still: a reload has made it the daemon's own. And a client that an event was for may
        # have gone before it was on disk: who published it may not be allowed to send to the agent of that name.
        if not self._is_remote(event.target) or (event.owner, event.target) not in self._senders:
            return
        workers = self._workers.get(event.target)
        if workers is None:
            self._keep(event.target, alone(with_wire(event)), is_older=is_older)
            return
        client = next(iter(workers))
        if len(workers) > 1:
            name = event.session_id or event.correlation_id or event.id
            client = max(workers, key=lambda one: rank(name, one.key))
        self._hand(client, event, alone(with_wire(event)))

    def _hand(self, client: Client, event: Event, chunk: Chunk) -> None:
        if event.owner != client.principal and event.correlation_id:
            self.askers.note(client.key, event)
        client.inbox.put(chunk, self._queue_bytes())

    def _keep(self, agent: str, chunk: Chunk, *, is_older: bool) -> None:
        self.expire()
        waiting = self._waiting.setdefault(agent, _Waiting())
        place = len(waiting.chunks)
        while is_older and place and waiting.chunks[place - 1][1].events[0].time > chunk.events[0].time:
            place -= 1
        following = place < len(waiting.chunks)
        until = waiting.chunks[place][0] if following else self._clock.monotonic() + self._kept()
        waiting.chunks.insert(place, (until, chunk))
        waiting.bytes += chunk.size
        while waiting.bytes > WAITING_BYTES and len(waiting.chunks) > 1:
            waiting.drop()

    def expire(self) -> None:
        """Let go of what has waited for too long, and tell how much that was."""
        if not self._waiting:
            return
        now = self._clock.monotonic()
        for agent, waiting in list(self._waiting.items()):
            gone = 0
            while waiting.chunks and waiting.chunks[0][0] < now:
                gone += len(waiting.chunks[0][1])
                waiting.drop()
            if gone:
                log.info("addressed_events_expired", extra={"agent": agent, "events": gone})
            if not waiting.chunks:
                del self._waiting[agent]
