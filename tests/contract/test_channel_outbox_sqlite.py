"""The outbox on the real store and the simulated platform: what one promises, the other keeps."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatewayd.channels.base import ChannelIO
from gatewayd.channels.outbox import Outbox
from gatewayd.channels.sim import SimAdapter, SimSettings
from gatewayd.config.channels import ChannelSection
from gatewayd.core.clock import SystemClock, SystemRandomness
from gatewayd.core.ids import IdSource
from gatewayd.core.message import OutboundMessage
from gatewayd.core.work import LedgerState
from gatewayd.storage.records import OutboxRow
from gatewayd.storage.sqlite import SQLiteStore
from gatewayd.testing.store_cases.samples import ListeningSink, acceptance, finish
from gatewayd.wire.events import decode_event, encode_event


async def nowhere(message: OutboundMessage) -> str:
    raise AssertionError


class Rig:
    """One life of a daemon's outbox after another, on one file and one platform."""

    def __init__(self, path: Path) -> None:
        self.clock = SystemClock()
        self.io = ChannelIO(self.clock, SystemRandomness(), nowhere)
        self.ids = IdSource(self.clock, self.io.randomness)
        self.path = path
        self.adapter = SimAdapter("tg", SimSettings(), self.io)
        self.section = ChannelSection(platform="sim")

    async def live(self) -> None:
        self.store = SQLiteStore(
            self.path,
            clock=self.clock,
            ids=self.ids,
            sink=ListeningSink(),
            encode=encode_event,
            decode=decode_event,
            on_failed=lambda error: None,
        )
        await self.store.open()
        self.outbox = Outbox(
            "tg",
            self.store,
            section=lambda: self.section,
            ids=self.ids,
            clock=self.clock,
            randomness=self.io.randomness,
        )

    async def die(self) -> None:
        await self.outbox.stop()
        await self.store.close()

    def send(self) -> None:
        self.outbox.use(self.adapter)
        self.outbox.connected(True)
        self.outbox.start()

    async def answer(self, number: int, pieces: int = 1) -> tuple[OutboxRow, ...]:
        """A message comes in and is answered; the answer's rows are on disk."""
        await self.store.accept(acceptance(number))
        await self.store.start(f"x{number:04}", 1.0, ())
        end = finish(number, pieces=pieces)
        await self.store.finish(end)
        return end.outbox

    async def state(self, number: int) -> LedgerState:
        story = await self.store.story(f"m{number:04}")
        assert story is not None
        return story.state

    def heard(self) -> list[str]:
        assert self.adapter.platform is not None
        return [sent.key for sent in self.adapter.platform.heard()]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path / "state" / "gatewayd.db")
    await rig.live()
    yield rig
    await rig.die()


async def test_a_message_is_answered_when_its_last_piece_is_sent(rig: Rig) -> None:
    rows = await rig.answer(1, pieces=3)
    assert await rig.state(1) is LedgerState.EXECUTED

    rig.send()
    rig.outbox.offer(rows)
    assert await rig.outbox.drain(10)

    assert rig.heard() == [row.key for row in rows]
    assert await rig.state(1) is LedgerState.ANSWERED


async def test_what_waited_is_sent_in_the_next_life(rig: Rig) -> None:
    rows = [row for number in range(1, 4) for row in await rig.answer(number)]
    await rig.die()

    await rig.live()
    rig.send()
    assert rig.adapter.platform is not None
    await rig.adapter.platform.wait_heard(3, timeout=60)

    assert rig.heard() == [row.key for row in rows]


async def test_F80_a_send_cut_by_a_crash_is_held_and_an_operator_may_resend_it(rig: Rig) -> None:
    rows = await rig.answer(1, pieces=2)
    await rig.store.mark_sending([rows[0].id])
    await rig.die()

    await rig.live()
    rig.send()
    await rig.answer(2)
    assert await rig.outbox.drain(10)
    assert await rig.state(1) is LedgerState.DEAD_LETTERED
    (letter,) = await rig.store.list_dead_letters(channel="tg", before="", limit=9)
    assert letter.reason == "ambiguous"
    assert rows[0].key not in rig.heard()

    row = await rig.store.retry_dead_letter(letter.id, 1.0, "operator")
    assert isinstance(row, OutboxRow)
    await rig.outbox.retry(row)
    assert await rig.outbox.drain(10)

    assert [key for key in rig.heard() if key.startswith("m0001")] == [row.key for row in rows]
    assert await rig.state(1) is LedgerState.ANSWERED


async def test_many_chats_are_sent_to_quickly(rig: Rig) -> None:
    rig.send()
    rows = [row for number in range(1, 301) for row in await rig.answer(number)]
    rig.outbox.offer(rows)

    assert await rig.outbox.drain(20)

    assert rig.heard() == [row.key for row in rows]
