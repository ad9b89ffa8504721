"""Clients without a stream: they register, and ask again and again for what was pushed.

The token of a registration is a capability: it works only together with the credentials of the principal that
registered, and a new registration of the same client makes it worthless. It is known to the memory alone, so a restart
asks clients to register again; their memberships are found where they were.
"""

import asyncio
from collections.abc import Callable

from gatewayd.access.principals import LostProof, Principal
from gatewayd.config.push import PollingSection
from gatewayd.core.clock import Clock, Randomness
from gatewayd.core.errors import AlreadyExists, LimitExceeded, PollerNotFound, PushDisabled, Unauthenticated
from gatewayd.core.ids import IdSource
from gatewayd.core.push import Peer, Registered, TopicDelivery, TopicEndReason
from gatewayd.push.clients import Clients
from gatewayd.push.delivery import Delivery
from gatewayd.push.members import Client
from gatewayd.push.timers import Timers
from gatewayd.push.topics import Topics

TOKEN_BYTES = 24
MAX_BYTES = 1024 * 1024
"""Bytes of messages in the answer to one poll, unless a single message is larger."""


Over = type[PollerNotFound] | type[PushDisabled] | type[Unauthenticated]


class Poller:
    """One registration; it is the reader of its client."""

    polls = True

    def __init__(self, principal: Principal, client: Client, token: str, now: float) -> None:
        self.principal = principal
        self.client = client
        self.token = token
        self.last_word = now
        """When it last said something, by the monotonic clock."""
        self.calls = 0
        """Polls so far: one that waits sees by it that another has come."""
        self.waiting = False
        self.over: Over | None = None
        """Why it has ended."""
        self._news = asyncio.Event()

    def wake(self) -> None:
        self._news.set()

    def ended(self, topic: str, reason: TopicEndReason) -> None:
        """It finds out when it lists its topics; there is nobody to tell before it asks."""

    async def news(self) -> None:
        """Wait for something to take, or for another reason to look."""
        self._news.clear()
        await self._news.wait()


class Pollers:
    """One per gateway, for as long as push is on."""

    def __init__(
        self,
        *,
        topics: Topics,
        clients: Clients,
        delivery: Delivery,
        settings: Callable[[], PollingSection],
        timers: Timers,
        clock: Clock,
        randomness: Randomness,
        ids: IdSource,
    ) -> None:
        self._topics = topics
        self._clients = clients
        self._delivery = delivery
        self._settings = settings
        self._timers = timers
        self._clock = clock
        self._randomness = randomness
        self._ids = ids
        self._by_token: dict[str, Poller] = {}
        self._by_peer: dict[Peer, Poller] = {}

    def __len__(self) -> int:
        return len(self._by_token)

    def register(self, principal: Principal, client_id: str) -> Registered:
        """Make the client one that polls. `AlreadyExists` while a stream of the same client is on topics."""
        peer = Peer(principal.id, client_id or f"poll-{self._ids.new().lower()}")
        client = self._topics.clients.get(peer)
        if client is not None and client.reader is not None and not client.reader.polls:
            raise AlreadyExists(f"client {peer.client_id!r} has a stream that is on topics")
        old = self._by_peer.get(peer)
        most = self._settings().max_clients
        if old is None and len(self._by_token) >= most:
            raise LimitExceeded(
                f"{most} clients are registered to poll (push.polling.max_clients)",
                metadata={"limit": "push.polling.max_clients"},
                retry_after=self._settings().wait,
            )
        client = self._topics.client(peer)
        if old is not None:
            self._remove(old, PollerNotFound)
        token = self._randomness.token(TOKEN_BYTES).hex()
        poller = Poller(principal, client, token, self._clock.monotonic())
        self._by_token[token] = self._by_peer[peer] = poller
        self._clients.attach(client, poller)
        self._watch(poller)
        settings = self._settings()
        beat = self._clients.heartbeat_interval
        return Registered(peer.client_id, token, settings.wait, beat, 2 * settings.wait)

    def find(self, principal: Principal, token: str) -> Poller:
        """The registration of that token, whose client has now given a sign of life; `PollerNotFound`."""
        poller = self._by_token.get(token)
        if poller is None or poller.principal.id != principal.id:
            raise PollerNotFound("the poll token is unknown or has been replaced: register again")
        poller.last_word = self._clock.monotonic()
        if not poller.waiting:
            self._clients.sign_of_life(poller.client)
        return poller

    async def poll(self, poller: Poller, wait: float | None, count: int) -> TopicDelivery:
        """What waits, or what comes within so many seconds (None: as long as the settings say)."""
        settings = self._settings()
        patience = settings.wait if wait is None else min(wait, settings.wait)
        poller.calls += 1
        mine = poller.calls
        poller.wake()
        poller.waiting = True
        self._clients.polling(poller.client)
        try:
            try:
                async with self._clock.timeout(patience or None):
                    while (found := self._look(poller, mine, min(count or settings.batch, settings.batch))) is None:
                        if not patience:
                            break
                        await poller.news()
            except TimeoutError:
                found = None
            return found or TopicDelivery((), ())
        finally:
            if poller.calls == mine:
                poller.waiting = False
                poller.last_word = self._clock.monotonic()
                if poller.over is None:
                    self._clients.sign_of_life(poller.client)

    def _look(self, poller: Poller, mine: int, count: int) -> TopicDelivery | None:
        is_off = poller.over is PushDisabled  # as at its timeout: the next call hears of it
        if poller.over is not None and not is_off:
            raise poller.over("the registration has ended: register again")
        if poller.calls != mine:
            return TopicDelivery((), ())
        found = self._delivery.take(poller.client, count, MAX_BYTES)
        return TopicDelivery((), ()) if found is None and is_off else found

    def taken_over(self, peer: Peer) -> None:
        """A stream of the same client joins: what comes goes there from now on."""
        if (poller := self._by_peer.get(peer)) is not None:
            self._remove(poller, PollerNotFound)

    def end_lost(self, lost: LostProof) -> None:
        """End the registrations that were made with these tokens of principals."""
        for poller in [one for one in self._by_token.values() if one.principal.token_sha256 in lost]:
            self._end(poller, PollerNotFound if lost.rescoped else Unauthenticated)

    def end_all(self) -> None:
        """Push is turned off: who waits comes back with what there is."""
        for poller in list(self._by_token.values()):
            self._end(poller, PushDisabled)

    def _end(self, poller: Poller, error: Over) -> None:
        self._remove(poller, error)
        self._clients.detach(poller.client, poller, lost=False)

    def _remove(self, poller: Poller, error: Over) -> None:
        poller.over = error
        self._by_token.pop(poller.token, None)
        if self._by_peer.get(poller.client.peer) is poller:
            del self._by_peer[poller.client.peer]
        poller.wake()

    def _watch(self, poller: Poller) -> None:
        """Silence for twice the longest wait ends a registration."""

        def look() -> None:
            if poller.over is not None:
                return
            silent = 0.0 if poller.waiting else self._clock.monotonic() - poller.last_word
            if silent >= 2 * self._settings().wait:
                self._end(poller, PollerNotFound)
            else:
                self._watch(poller)

        left = poller.last_word + 2 * self._settings().wait - self._clock.monotonic()
        self._timers.at(self._clock.monotonic() + max(left, 0.1), look)
