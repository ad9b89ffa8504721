"""Whatever the platform does and whenever the daemon dies: nothing is lost in silence, nothing comes twice by `hold`.

A life ends as by kill -9: from one instant on its store writes nothing and its adapter is not heard of again. Each
seed is one history; a failure is repeated by its seed.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import cast

import pytest
from channel_rig import OutboxStore, ToldAdapter, row

from gatewayd.channels.base import ChannelUnavailable, RateLimited, SendRejected
from gatewayd.channels.outbox import Outbox
from gatewayd.config.channels import ChannelSection
from gatewayd.core.clock import SeededRandomness
from gatewayd.core.ids import IdSource
from gatewayd.core.message import OutboundMessage
from gatewayd.storage.base import Store
from gatewayd.storage.records import OutboxRow
from gatewayd.testing.fakes import FakeClock

CHATS = 4


class Platform:
    """Outlives every life; takes, refuses, cuts and delays as chance will have it."""

    def __init__(self, chance: random.Random, idempotent: bool) -> None:
        self.chance = chance
        self.idempotent = idempotent
        self.delivered: list[OutboundMessage] = []
        self.trouble = 0.4

    def deliver(self, message: OutboundMessage) -> None:
        if not (self.idempotent and any(each.key == message.key for each in self.delivered)):
            self.delivered.append(message)


class Life(OutboxStore):
    """One life's view of the store: when it ends, nothing more is written."""

    def __init__(self, kept: dict[str, OutboxRow]) -> None:
        super().__init__()
        self.rows = kept
        self.over = False

    def _submit(self, line: str, apply: object) -> Awaitable[None]:
        def unless_over() -> None:
            if not self.over:
                apply()  # type: ignore[operator]

        return super()._submit(line, unless_over)


class LivingAdapter(ToldAdapter):
    def __init__(self, clock: FakeClock, platform: Platform, life: Life) -> None:
        super().__init__(clock, idempotent=platform.idempotent)
        self.platform = platform
        self.life = life

    async def send(self, message: OutboundMessage) -> str:
        if self.life.over:
            raise AssertionError("a dead daemon sends nothing")
        chance, platform = self.platform.chance, self.platform
        kind = chance.random() / max(platform.trouble, 1e-9)
        if kind < 0.2:
            raise ChannelUnavailable("502")
        if kind < 0.3:
            raise RateLimited("429", retry_after=chance.uniform(0, 5))
        if kind < 0.4:
            raise SendRejected("400")
        await self.clock.sleep(chance.uniform(0, 2) * platform.trouble)
        if not self.life.over:
            platform.deliver(message)
        await self.clock.sleep(chance.uniform(0, 2) * platform.trouble)
        if kind < 0.6:
            raise ConnectionResetError("cut")
        return f"p-{message.id}"


class History:
    def __init__(self, seed: int, policy: str, idempotent: bool) -> None:
        self.chance = random.Random(seed)
        self.clock = FakeClock()
        self.platform = Platform(self.chance, idempotent)
        self.section = ChannelSection(platform="told", ambiguous=policy)
        self.kept: dict[str, OutboxRow] = {}
        self.made = 0
        self.kills = 0

    async def live(self, seconds: float, *, kill: bool) -> None:
        life = Life(self.kept)
        outbox = Outbox(
            "ch",
            cast("Store", life),
            section=lambda: self.section,
            ids=IdSource(self.clock, SeededRandomness(self.made)),
            clock=self.clock,
            randomness=SeededRandomness(self.kills),
            max_rows=8,
        )
        outbox.use(LivingAdapter(self.clock, self.platform, life))
        outbox.connected(True)
        outbox.start()
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            rows = self.answer()
            life.put(*rows)
            outbox.offer(rows)
            if self.chance.random() < 0.1:
                outbox.connected(False)
                await self.clock.advance(self.chance.uniform(0, 3))
                outbox.connected(True)
            await self.clock.advance(self.chance.uniform(0, 1.5))
        if kill:
            life.over = True
            self.kills += 1
        else:
            self.platform.trouble = 0.0
            for _ in range(200):
                await self.clock.advance(30)
                if outbox.queued == 0:
                    break
        await self.clock.run(outbox.stop())

    def answer(self) -> Sequence[OutboxRow]:
        """A message of one to three pieces for some chat; sometimes none."""
        first = self.made
        pieces = self.chance.choice((0, 1, 1, 2, 3))
        self.made += pieces
        chat = f"chat {self.chance.randrange(CHATS)}"
        return [row(first + n, chat=chat, message=f"message {first}") for n in range(pieces)]


@pytest.mark.parametrize(("policy", "idempotent"), [("hold", False), ("resend", False), ("hold", True)])
@pytest.mark.parametrize("seed", range(12))
async def test_F28_no_history_loses_or_repeats_what_it_must_not(seed: int, policy: str, idempotent: bool) -> None:
    history = History(seed, policy, idempotent)
    for _ in range(4):
        await history.live(history.chance.uniform(2, 20), kill=True)
    await history.live(10, kill=False)

    times = Counter(message.id for message in history.platform.delivered)
    states = {row_id: str(each.state) for row_id, each in history.kept.items()}
    assert history.made > 10
    assert set(states.values()) <= {"sent", "dead"}
    assert all(times[row_id] >= 1 for row_id, state in states.items() if state == "sent")
    if policy == "hold" or idempotent:
        assert max(times.values()) == 1
    reasons = {each.reason.split(":")[0] for each in history.kept.values() if str(each.state) == "dead"}
    assert reasons <= (
        {"rejected", "undeliverable"} | ({"ambiguous"} if policy == "hold" and not idempotent else set())
    )
    for message in {each.message_id for each in history.kept.values()}:
        ends = [str(each.state) for _, each in sorted(history.kept.items()) if each.message_id == message]
        assert ends == sorted(ends, reverse=True), "no piece is sent after one that was given up"
    for chat in range(CHATS):
        firsts = list(dict.fromkeys(m.id for m in history.platform.delivered if m.chat == f"chat {chat}"))
        assert firsts == sorted(firsts)
