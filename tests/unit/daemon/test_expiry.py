"""Answers that nobody sends: they wait as long as retention says, and then their stories end, told and revocable."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatewayd.agents.base import AgentContext, Output, TextOutput, Turn
from gatewayd.core.work import ExecutionState, LedgerState
from gatewayd.daemon.expiry import Expiry
from gatewayd.daemon.upkeep import SWEEP_EVERY, Upkeep
from gatewayd.storage.records import Acceptance, LedgerRecord, OutboxState
from gatewayd.testing.fakes import EPOCH, FakeClock
from tests.rigs.middle import Middle, message

CHAT = {"channels": {"chat": {"platform": "sim", "routing": {"dm": "a"}}}}
WEEK = 7 * 86_400.0


@pytest.fixture
async def middle(tmp_path: Path) -> AsyncIterator[Middle]:
    async with Middle(tmp_path, CHAT) as middle:
        yield middle


async def later(middle: Middle, seconds: float) -> None:
    assert isinstance(middle.clock, FakeClock)
    await middle.clock.advance(seconds)


async def answer(middle: Middle, text: str = "hello, this one has several pieces") -> None:
    """A message of the chat is answered, and nobody sends the answer."""
    middle.agents["a"].may_end.set()
    await middle.router.accept_chat(message(text))
    await middle.runtime.idle()


def expiry_of(middle: Middle, *senders: str) -> Expiry:
    return Expiry(middle.store, senders=lambda: senders, ids=middle.ids, clock=middle.clock)


async def story_of(middle: Middle, reference: str = "p1") -> LedgerRecord:
    story = await middle.store.story(reference)
    assert story is not None
    return story


async def test_an_answer_that_nobody_sends_expires(middle: Middle) -> None:
    """Not before its time; then its story ends and a dead letter is left, one for all its pieces."""
    await answer(middle)
    expiry = expiry_of(middle)
    await later(middle, WEEK)
    assert await expiry.expire(WEEK) == 0
    await later(middle, 1)

    assert await expiry.expire(WEEK) == 1

    story = await story_of(middle)
    assert story.state is LedgerState.EXPIRED
    assert (story.steps[-1].name, story.steps[-1].detail) == (
        "expired",
        "its answer waited too long for channel chat",
    )
    (letter,) = await middle.store.list_dead_letters(channel="chat", before="", limit=10)
    assert (letter.reason, letter.reference) == ("expired", middle.offered[0].id)
    assert len(middle.offered) > 1
    assert await middle.store.pending_outbox("chat") == []
    assert await expiry.expire(WEEK) == 0


async def test_an_expired_answer_may_still_be_sent_by_an_operator(middle: Middle) -> None:
    """Its dead letter is as good as any."""
    await answer(middle)
    await later(middle, WEEK + 1)
    await expiry_of(middle).expire(WEEK)
    (letter,) = await middle.store.list_dead_letters(channel="chat", before="", limit=10)

    await middle.router.retry_dead_letter(letter.id, "op")

    assert [row.id for row in middle.resent] == [middle.offered[0].id]
    assert (await story_of(middle)).state is LedgerState.EXECUTED


async def test_what_was_being_sent_when_its_channel_left_says_so(middle: Middle) -> None:
    """Nobody knows whether the platform took it; that is told with the end."""
    await answer(middle, "hi")
    await middle.store.mark_sending([row.id for row in middle.offered])
    await later(middle, WEEK + 1)

    assert await expiry_of(middle).expire(WEEK) == 1

    assert "which may have sent it" in (await story_of(middle)).steps[-1].detail


async def test_live_work_never_expires(middle: Middle) -> None:
    """A channel's that may still send, an execution's that still runs, and anything without a bound by age."""
    await answer(middle)
    middle.agents["a"].may_end.clear()
    await middle.router.accept_chat(message("slow", 2))
    assert isinstance(middle.clock, FakeClock)
    middle.clock.jump(WEEK + 1)  # the wall alone: live work is looked at every second, and a week has many

    assert await expiry_of(middle, "chat").expire(WEEK) == 0
    assert await expiry_of(middle).expire(0.0) == 0

    assert (await story_of(middle)).state is LedgerState.EXECUTED
    assert (await story_of(middle, "p2")).state is LedgerState.QUEUED
    assert {row.state for row in await middle.store.pending_outbox("chat")} == {OutboxState.QUEUED}
    assert await expiry_of(middle).expire(WEEK) == 1
    assert (await story_of(middle, "p2")).state is LedgerState.QUEUED


async def test_a_story_that_nothing_will_end_expires(middle: Middle) -> None:
    """Open, with no execution and no piece; looked for once an hour, since the whole ledger is gone through."""
    expiry = expiry_of(middle)
    await expiry.expire(WEEK)
    inbound = middle.router._intake.from_chat(message("hello"), "ann")
    await middle.store.accept(Acceptance(inbound, "s", "", b"", None, None, LedgerState.EXECUTED, ()))
    await later(middle, WEEK + 1)

    assert await expiry.expire(WEEK) == 1

    story = await story_of(middle)
    assert (story.state, story.steps[-1].name) == (LedgerState.EXPIRED, "expired")
    assert await middle.store.list_dead_letters(channel="", before="", limit=10) == []


async def nothing() -> None:
    """No erasure was cut off."""


async def test_upkeep_expires_and_counts_at_every_sweep(middle: Middle) -> None:
    """`storage.retention.outbox.max_age` is the bound."""
    middle.use(CHAT | {"storage": {"retention": {"outbox": {"max_age": "1d"}}}})
    expiry = expiry_of(middle)
    upkeep = Upkeep(
        store=middle.store,
        sessions=middle.sessions,
        expiry=expiry,
        suspending=middle.runtime.suspending,
        finish_erasures=nothing,
        config=lambda: middle.config,
        clock=middle.clock,
    )
    await answer(middle)
    await upkeep.start()
    try:
        async with asyncio.timeout(60):
            while expiry.waiting != {"chat": 1}:
                await asyncio.sleep(0.005)
            await later(middle, 86_400)
            while expiry.waiting:
                await later(middle, SWEEP_EVERY)
                await asyncio.sleep(0.005)  # the store's threads take their own time
    finally:
        await upkeep.stop()

    assert (await story_of(middle)).state is LedgerState.EXPIRED


async def test_what_waits_is_counted_by_answers(middle: Middle) -> None:
    """Pieces of one answer are one; a channel with somebody who sends is not told of."""
    await answer(middle)
    alone, sent = expiry_of(middle), expiry_of(middle, "chat")

    await alone.look()
    await sent.look()

    assert alone.waiting == {"chat": 1}
    assert sent.waiting == {}


async def test_upkeep_fails_what_rests_for_too_long(middle: Middle) -> None:
    """`runtime.checkpoints.max_age_days` is the bound, counted from the checkpoint that it rests at."""
    middle.use(CHAT | {"runtime": {"checkpoints": {"max_age_days": 2}}})

    async def ask(_turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        yield TextOutput("Well.")
        await ctx.wait_for_input("?", {})

    middle.agents["b"].run = ask  # type: ignore[method-assign]
    submitted = await middle.send("go", "b")
    upkeep = Upkeep(
        store=middle.store,
        sessions=middle.sessions,
        expiry=expiry_of(middle),
        suspending=middle.runtime.suspending,
        finish_erasures=nothing,
        config=lambda: middle.config,
        clock=middle.clock,
    )
    await asyncio.wait_for(submitted.live.rests.wait(), 60)
    await upkeep.start()
    try:
        await later(middle, 2 * 86_400 - 2 * SWEEP_EVERY)
        assert not submitted.live.done.done()
        async with asyncio.timeout(60):
            while not submitted.live.done.done():
                await later(middle, SWEEP_EVERY)
                await asyncio.sleep(0.005)  # the store's threads take their own time
    finally:
        await upkeep.stop()

    outcome = submitted.live.done.result()
    assert (outcome.state, outcome.output) == (ExecutionState.FAILED, "Well.")
    assert middle.clock.now() - EPOCH >= 2 * 86_400
