"""Callers that leave while a unit is on its way to the disk: what belongs to it is done all the same."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from gatewayd.core.errors import Draining, IdConflict
from gatewayd.core.work import LedgerState
from gatewayd.storage.records import Accepted, DeadLetter, DeadLetterKind, LedgerChange, OutboxRow, Step
from tests.rigs.middle import Middle, message

CHAT = {"channels": {"chat": {"platform": "sim", "routing": {"dm": "a"}}}}


@pytest.fixture
async def middle(tmp_path: Path) -> AsyncIterator[Middle]:
    async with Middle(tmp_path, CHAT) as middle:
        yield middle


async def cut(middle: Middle, intent: str, asking: Coroutine[Any, Any, object]) -> None:
    """Cut the caller off when its unit is submitted and not on disk; go on when all that follows is done."""
    submitted, submit = asyncio.Event(), getattr(middle.store, intent)

    def told(*details: Any) -> Any:
        submitted.set()
        return submit(*details)

    setattr(middle.store, intent, told)
    caller = asyncio.ensure_future(asking)
    await submitted.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    setattr(middle.store, intent, submit)
    commits = middle.router._commits
    while commits._writing:
        await asyncio.wait(commits._writing)
    await commits._tasks.wait()


async def test_cut_duplicates_leave_no_sessions_behind(middle: Middle) -> None:
    """Each opened a session that no message was taken in for; `max_sessions_per_agent` must not fill up with them."""
    middle.agents["a"].may_end.set()
    first = await middle.send("one", idempotency_key="k")
    await first.live.done
    count = middle.sessions.active_count

    for number in range(60):
        again = middle.router.accept_send(middle.of("one", idempotency_key="k"), middle.caller(f"other-{number}"))
        await cut(middle, "accept", again)

    assert middle.sessions.active_count == count


async def test_a_cut_conflict_leaves_no_session_behind(middle: Middle) -> None:
    """A refusal that nobody hears is undone like one that somebody does, and is no failure of the gateway."""
    middle.agents["a"].may_end.set()
    await middle.send("one", idempotency_key="k")
    count = middle.sessions.active_count
    other = middle.of("other words", idempotency_key="k")

    await cut(middle, "accept", middle.router.accept_send(other, middle.caller("c2")))

    assert middle.sessions.active_count == count
    with pytest.raises(IdConflict):
        await middle.router.accept_send(other, middle.caller("c2"))


async def test_a_message_whose_caller_is_cut_off_is_answered(middle: Middle) -> None:
    """What was taken in is worked on."""
    middle.agents["a"].may_end.set()

    await cut(middle, "accept", middle.router.accept_chat(message("hello")))
    await middle.runtime.idle()

    assert [row.text for row in middle.offered] == ["half of hello"]


async def test_a_retry_whose_caller_is_cut_off_is_sent(middle: Middle) -> None:
    """Between the commit and the sending nobody may leave the row without somebody to send it."""
    row = await dead_piece(middle)

    await cut(middle, "retry_dead_letter", middle.router.retry_dead_letter("letter", "op"))

    assert [each.id for each in middle.resent] == [row.id]


async def test_nothing_is_begun_once_the_router_has_stopped(middle: Middle) -> None:
    """What is under way is waited for; what comes then is told to come again."""
    row = await dead_piece(middle)
    retrying = asyncio.ensure_future(middle.router.retry_dead_letter("letter", "op"))
    await asyncio.sleep(0)

    await middle.router.stop()

    assert [each.id for each in middle.resent] == [row.id]
    assert await retrying == row.message_id
    with pytest.raises(Draining):
        await middle.router.retry_dead_letter("letter", "op")


async def dead_piece(middle: Middle) -> OutboxRow:
    """An answer that was given up."""
    middle.agents["a"].may_end.set()
    await middle.router.accept_chat(message("hello"))
    await middle.runtime.idle()
    (row,) = middle.offered
    letter = DeadLetter("letter", DeadLetterKind.OUTBOUND, row.message_id, row.id, "chat", "rejected", 1.0)
    step = LedgerChange(row.message_id, LedgerState.DEAD_LETTERED, Step("dead_lettered", 1.0, "rejected"))
    await middle.store.mark_dead(row.id, letter, step)
    return row


async def test_what_is_not_on_disk_when_the_time_is_over_is_not_begun(middle: Middle) -> None:
    """It is taken up at the next start; whoever waits for it is cut off, and its room is given back."""
    written: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
    middle.store.accept = lambda _: written  # type: ignore[method-assign]
    sending = asyncio.ensure_future(middle.send("hello"))
    while not middle.router._commits._writing:
        await asyncio.sleep(0)
    stopping = asyncio.ensure_future(middle.router.stop())
    await asyncio.sleep(0)
    assert not stopping.done()

    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    with pytest.raises(asyncio.CancelledError):
        await sending
    written.set_result(Accepted("m", "x", duplicate=False))
    await asyncio.sleep(0)

    assert middle.runtime.lanes.queued == 0
    assert not middle.agents["a"].turns
    assert middle.runtime.lanes._coming.total() == 0
