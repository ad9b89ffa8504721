"""The coming and going of clients: who reads for them, how long they count as there, and what is held for them.

On a stream the connection itself is the sign of life: a client counts as gone at once when it ends the stream in
order, and `push.presence.offline_timeout` after its last frame when the connection breaks. One that polls counts as
there for as long after each of its calls.
"""

from collections.abc import Callable

from gatewayd.config.push import PresenceSection
from gatewayd.core.clock import Clock
from gatewayd.push.delivery import Delivery
from gatewayd.push.members import Client, Held, Reader
from gatewayd.push.presence import Presence
from gatewayd.push.timers import Timers
from gatewayd.push.topics import Topics


class Clients:
    """One per gateway, for as long as push is on."""

    def __init__(
        self,
        *,
        topics: Topics,
        delivery: Delivery,
        presence: Presence,
        settings: Callable[[], PresenceSection],
        reconnect_timeout: Callable[[], float],
        held: Held,
        timers: Timers,
        clock: Clock,
    ) -> None:
        self._topics = topics
        self._delivery = delivery
        self._presence = presence
        self._settings = settings
        self._reconnect_timeout = reconnect_timeout
        self._held = held
        self._timers = timers
        self._clock = clock

    def attach(self, client: Client, reader: Reader) -> None:
        """Somebody reads for the client from now on; who did before does no more."""
        client.reader = reader
        client.session += 1
        self._end_holding(client)
        if reader.polls:
            self.sign_of_life(client)
        else:
            client.offline_at = None
            self._be(client, present=True)
        self._delivery.returned(client)
        client.wake()

    def detach(self, client: Client, reader: Reader, *, lost: bool, silent_for: float = 0.0) -> None:
        """Nobody reads any more; nothing happens if another reader has come meanwhile.

        `lost` is a connection that broke, which was silent for so many seconds; else the client ended it.
        """
        if client.reader is not reader:
            return
        client.reader = None
        client.session += 1
        self._delivery.went(client)
        for member in client.members.values():
            member.seen = self._clock.now()
        if not lost:
            client.offline_at = None
            self._be(client, present=False)
            self._drop_plain(client)
            self._topics.forget_if_nothing(client)
            return
        now = self._clock.monotonic()
        self._offline_at(client, max(now, now - silent_for + self._settings().offline_timeout))
        until = client.held_until = now + self._reconnect_timeout()
        self._held.size += client.queue.plain_bytes
        self._timers.at(until, lambda: self._let_go(client, until))

    def sign_of_life(self, client: Client) -> None:
        """A client that polls has said something: it counts as there for `offline_timeout`."""
        self._be(client, present=True)
        self._offline_at(client, self._clock.monotonic() + self.offline_timeout)

    @property
    def offline_timeout(self) -> float:
        """Seconds for which a client counts as there after a sign of life."""
        return self._settings().offline_timeout

    @property
    def heartbeat_interval(self) -> float:
        """Seconds between two signs of life that a client is asked for."""
        return self._settings().heartbeat_interval

    def polling(self, client: Client) -> None:
        """It waits for an answer: that is a sign of life for as long as it does."""
        client.offline_at = None
        self._be(client, present=True)

    def _offline_at(self, client: Client, when: float) -> None:
        client.offline_at = when
        self._timers.at(when, lambda: self._look(client))

    def _look(self, client: Client) -> None:
        if client.offline_at is not None and client.offline_at <= self._clock.monotonic():
            client.offline_at = None
            self._be(client, present=False)

    def _be(self, client: Client, *, present: bool) -> None:
        if client.present is present:
            return
        client.present = present
        for member in list(client.members.values()):
            self._presence.note(member)

    def _let_go(self, client: Client, until: float) -> None:
        """The connection that broke did not come back in time."""
        if client.held_until == until:
            self._end_holding(client)
            self._drop_plain(client)
            self._topics.forget_if_nothing(client)

    def _end_holding(self, client: Client) -> None:
        if client.held_until is not None:
            client.held_until = None
            self._held.size -= client.queue.plain_bytes

    def _drop_plain(self, client: Client) -> None:
        client.queue.forget_plain()
        for member in [one for one in client.members.values() if not one.acknowledged]:
            self._topics.end(member)
