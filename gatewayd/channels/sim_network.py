"""The chat network behind the platform `sim`: users, bots and the faults that a test or a configuration plans.

It behaves like a real one where it matters: an update is given out again until it is acknowledged; one poller per
token; a send is taken or refused, and an answer may be lost after it was taken. It knows nothing of channels. Links
(`sim_link`) bring a bot here, in this process or from another one.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import field, replace
from typing import Final

from gatewayd.channels.sim_values import FAULTS, Sending, Sent, SimCut, SimRefused, Update
from gatewayd.core.clock import Clock, Randomness
from gatewayd.core.value import record

MAX_UPDATES: Final = 100_000
"""Updates that wait for one bot; one more is refused to its user."""
BATCH: Final = 100
"""Updates in one answer to a poll."""


@record(slots=True)
class _Bot:
    """One account: what users told it and what it said."""

    pending: dict[str, Update] = field(default_factory=dict)
    """Given out until acknowledged, in order."""
    later: deque[tuple[float, Update]] = field(default_factory=deque)
    """The script: due times (monotonic) and what is said then."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    poller: str = ""


class SimPlatform:
    """The network. All methods are called on one event loop."""

    def __init__(
        self, clock: Clock, randomness: Randomness, *, max_message_length: int = 4096, max_sent: int = 200_000
    ) -> None:
        self._clock = clock
        self._run = randomness.token(4).hex()
        # Ids of two runs differ: a script that is said again after a restart is not taken for a repetition.
        self._updates = 0
        self._pollers = 0
        self._bots: dict[str, _Bot] = {}
        self._faults: dict[str, tuple[int, float]] = {}
        self._sent: deque[Sent] = deque(maxlen=max_sent)
        self._by_key: dict[str, Sent] = {}
        self._numbered = 0
        self._max_length = max_message_length
        self._changed = asyncio.Event()

    # What users and tests do

    def say(self, chat: str, peer: str, text: str, *, token: str = "", **details: object) -> str:
        """A user says something to the bot of that token; returns the update's id. `details`: fields of `Update`."""
        bot = self._bot(token)
        if len(bot.pending) >= MAX_UPDATES:
            raise SimRefused(503, f"{MAX_UPDATES} updates wait already")
        update = self._update(chat, peer, text, details)
        bot.pending[update.id] = update
        bot.arrived.set()
        return update.id

    def plan_to_say(self, after: float, chat: str, peer: str, text: str, *, token: str = "", **details: object) -> str:
        """The same, `after` seconds from the moment the user's line before it is due."""
        bot = self._bot(token)
        due = (bot.later[-1][0] if bot.later else self._clock.monotonic()) + after
        update = self._update(chat, peer, text, details)
        bot.later.append((due, update))
        bot.arrived.set()
        return update.id

    def fault(self, name: str, count: int = 1, value: float = 0.0) -> None:
        """Plan a fault for the next `count` occasions (0 takes it back); `value` is its seconds, where it has some."""
        if name not in FAULTS:
            raise SimRefused(400, f"there is no fault {name!r}; there are {', '.join(FAULTS)}")
        self._faults[name] = (count, value)

    def heard(self, chat: str = "", *, after: int = 0, limit: int = MAX_UPDATES) -> list[Sent]:
        """What bots said (in one chat), in order, from number `after` on."""
        found = (each for each in self._sent if each.number > after and chat in ("", each.chat))
        return [each for _, each in zip(range(limit), found, strict=False)]

    def unacknowledged(self, token: str = "") -> int:
        """Updates that the bot has not acknowledged, planned ones included."""
        bot = self._bot(token)
        return len(bot.pending) + len(bot.later)

    async def wait_heard(self, count: int, chat: str = "", *, timeout: float) -> list[Sent]:
        """Wait until that many were heard (in the chat), and return them; `TimeoutError` after `timeout` seconds."""
        async with self._clock.timeout(timeout):
            while len(found := self.heard(chat)) < count:
                await self._change()
        return found

    async def wait_acknowledged(self, token: str = "", *, timeout: float) -> None:
        """Wait until the bot has acknowledged everything; `TimeoutError` after `timeout` seconds."""
        async with self._clock.timeout(timeout):
            while self.unacknowledged(token):
                await self._change()

    # What bots do

    def connect(self) -> str:
        """An id for one connection; `release` it at its end."""
        self._pollers += 1
        return f"connection-{self._pollers}"

    def release(self, poller: str) -> None:
        """The connection is gone: another one may poll."""
        for bot in self._bots.values():
            if bot.poller == poller:
                bot.poller = ""

    async def hello(self, token: str) -> None:
        """Check the token."""
        await self._answer_slowly()
        if token == "bad" or self._take("auth") is not None:
            raise SimRefused(401, "the token is refused")

    async def poll(self, token: str, poller: str, timeout: float) -> list[Update]:
        """What is not acknowledged, or [] after `timeout` seconds without anything."""
        await self.hello(token)
        bot = self._bot(token)
        if self._take("unavailable") is not None:
            raise SimRefused(503, "the platform is out of order")
        if self._take("conflict") is not None or bot.poller not in ("", poller):
            raise SimRefused(409, "another connection polls with this token")
        bot.poller = poller
        await self._arrival(bot, timeout)
        updates = list(bot.pending.values())[:BATCH]
        if self._take("disconnects") is not None:
            self.release(poller)
            raise SimCut("the connection was cut")
        if len(updates) > 1 and self._take("reorder") is not None:
            updates.reverse()
        return updates

    async def ack(self, token: str, ids: Sequence[str]) -> None:
        """The bot has taken these."""
        await self._answer_slowly()
        bot = self._bot(token)
        for each in ids:
            update = bot.pending.pop(each, None)
            if update is not None and self._take("duplicates") is not None:
                bot.pending[each] = update
        self._change_happened()

    async def send(self, token: str, sending: Sending) -> str:
        """Take a message and return its id."""
        await self.hello(token)
        if (wait := self._take("rate_limit")) is not None:
            raise SimRefused(429, "too many messages", retry_after=wait)
        if self._take("reject") is not None:
            raise SimRefused(400, "the platform does not take this message")
        if not 1 <= len(sending.text) <= self._max_length:
            raise SimRefused(400, f"a message has 1 to {self._max_length} characters, this one {len(sending.text)}")
        sent = self._by_key.get(sending.key) if sending.idempotent else None
        if sent is None:
            sent = self._record(sending)
        if self._take("disconnects_sending") is not None:
            raise SimCut("the connection was cut after the message was sent")
        return sent.id

    # Within

    def _bot(self, token: str) -> _Bot:
        return self._bots.setdefault(token, _Bot())

    def _update(self, chat: str, peer: str, text: str, details: dict[str, object]) -> Update:
        self._updates += 1
        plain = Update(f"{self._run}-{self._updates}", chat, peer, text, time=self._clock.now())
        return replace(plain, **details)  # type: ignore[arg-type]  # unknown fields are a TypeError, as they should

    def _record(self, sending: Sending) -> Sent:
        self._numbered += 1
        sent = Sent(
            self._numbered,
            f"{self._run}-s{self._numbered}",
            sending.key,
            sending.chat,
            sending.text,
            self._clock.now(),
            sending.thread,
            sending.quote,
        )
        if len(self._sent) == self._sent.maxlen and self._by_key.get(self._sent[0].key) is self._sent[0]:
            del self._by_key[self._sent[0].key]
        self._sent.append(sent)
        self._by_key.setdefault(sending.key, sent)
        self._change_happened()
        return sent

    def _take(self, fault: str) -> float | None:
        """Use up one of a planned fault; its value, or None when none is planned."""
        count, value = self._faults.get(fault, (0, 0.0))
        if count <= 0:
            return None
        self._faults[fault] = (count - 1, value)
        return value

    async def _answer_slowly(self) -> None:
        if wait := self._take("slow"):
            await self._clock.sleep(wait)

    async def _arrival(self, bot: _Bot, timeout: float) -> None:
        end = self._clock.monotonic() + timeout
        while True:
            now = self._clock.monotonic()
            while bot.later and bot.later[0][0] <= now:
                update = bot.later.popleft()[1]
                bot.pending[update.id] = update
            if bot.pending or now >= end:
                return
            bot.arrived.clear()
            until = min(end, bot.later[0][0]) if bot.later else end
            try:
                async with self._clock.timeout(max(until - now, 0.001)):
                    await bot.arrived.wait()
            except TimeoutError:
                continue

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _change_happened(self) -> None:
        self._changed.set()
