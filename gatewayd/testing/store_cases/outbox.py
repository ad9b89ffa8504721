"""Pieces on their way out, and the end that they give a story."""

from dataclasses import replace

import pytest

from gatewayd.core.errors import NotFound
from gatewayd.core.work import LedgerState
from gatewayd.storage.base import Store
from gatewayd.storage.records import OutboxRow, OutboxState
from gatewayd.testing.store_cases.samples import NOW, Harness, acceptance, died, finish, letter, piece


async def _state(store: Store, message_id: str = "m0001") -> LedgerState:
    story = await store.story(message_id)
    assert story is not None
    return story.state


class OutboxCases:
    async def test_pending_pieces_come_in_order_and_by_channel(self, harness: Harness) -> None:
        for number in (2, 1):
            await harness.store.accept(acceptance(number))
            await harness.store.finish(finish(number, pieces=2))
        await harness.reopen()
        found = await harness.store.pending_outbox("tg")
        assert found == [piece(1, 0), piece(1, 1), piece(2, 0), piece(2, 1)]
        assert await harness.store.pending_outbox("other") == []

    async def test_a_piece_being_sent_is_marked_before_and_after(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        await harness.store.finish(finish(1))
        await harness.store.mark_sending(["o0001-0"])
        await harness.reopen()
        (row,) = await harness.store.pending_outbox("tg")
        assert (row.state, row.attempts) == (OutboxState.SENDING, 1)
        await harness.store.mark_sent("o0001-0", "p1", NOW)
        assert await harness.store.pending_outbox("tg") == []

    async def test_the_story_ends_with_the_last_piece(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        await harness.store.finish(finish(1, pieces=2))
        await harness.store.mark_sending(["o0001-0", "o0001-1"])
        await harness.store.mark_sent("o0001-0", "p0", NOW)
        assert await _state(harness.store) is LedgerState.EXECUTED
        await harness.store.mark_sent("o0001-1", "p1", NOW)
        await harness.store.mark_sent("o0001-1", "p1", NOW)
        story = await harness.store.story("p1")
        assert story is not None
        assert story.state is LedgerState.ANSWERED
        assert [(step.name, step.detail) for step in story.steps[-2:]] == [("sent", "p0"), ("sent", "p1")]

    async def test_a_refused_piece_waits_for_its_next_time(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        await harness.store.finish(finish(1))
        await harness.store.mark_sending(["o0001-0"])
        await harness.store.mark_retry("o0001-0", NOW + 9, "too many")
        (row,) = await harness.store.pending_outbox("tg")
        assert (row.state, row.attempts, row.next_time, row.reason) == (OutboxState.QUEUED, 1, NOW + 9, "too many")

    async def test_a_dead_piece_takes_the_later_ones_with_it(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        await harness.store.finish(finish(1, pieces=3))
        await harness.store.mark_sending(["o0001-0"])
        await harness.store.mark_sent("o0001-0", "p0", NOW)
        await harness.store.mark_sending(["o0001-1"])
        await harness.store.mark_dead("o0001-1", letter("d1", 1, 1), died(1))
        assert await harness.store.pending_outbox("tg") == []
        assert await _state(harness.store) is LedgerState.DEAD_LETTERED
        assert await harness.store.list_dead_letters(channel="tg", before="", limit=9) == [letter("d1", 1, 1)]

    async def test_a_dead_question_does_not_take_the_answer_with_it(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        answer = finish(1, pieces=2)
        asked = tuple(replace(piece(1, part), id=f"ask-{part}", key=f"m0001/ask/{part}") for part in (0, 1))
        await harness.store.finish(replace(answer, outbox=(*asked, *answer.outbox)))
        await harness.store.mark_dead("ask-0", replace(letter("d1", 1), reference="ask-0"), died(1))
        assert [row.id for row in await harness.store.pending_outbox("tg")] == ["o0001-0", "o0001-1"]
        await harness.store.retry_dead_letter("d1", NOW + 1, "ann")
        assert len(await harness.store.pending_outbox("tg")) == 4

    async def test_a_dead_letter_can_be_sent_again_once(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        await harness.store.finish(finish(1, pieces=3))
        await harness.store.mark_sending(["o0001-0"])
        await harness.store.mark_sent("o0001-0", "p0", NOW)
        await harness.store.mark_sending(["o0001-1"])
        await harness.store.mark_dead("o0001-1", letter("d1", 1, 1), died(1))
        revived = await harness.store.retry_dead_letter("d1", NOW + 1, "ann")
        assert isinstance(revived, OutboxRow)
        assert (revived.id, revived.state, revived.attempts) == ("o0001-1", OutboxState.QUEUED, 0)
        assert [row.id for row in await harness.store.pending_outbox("tg")] == ["o0001-1", "o0001-2"]
        assert await _state(harness.store) is LedgerState.EXECUTED
        with pytest.raises(NotFound):
            await harness.store.retry_dead_letter("d1", NOW + 2, "ann")
        for part in (1, 2):
            await harness.store.mark_sending([f"o0001-{part}"])
            await harness.store.mark_sent(f"o0001-{part}", f"p{part}", NOW + 3)
        assert await _state(harness.store) is LedgerState.ANSWERED

    async def test_marks_of_one_piece_in_one_group_are_all_applied(self, harness: Harness) -> None:
        receipts = [
            harness.store.accept(acceptance(1)),
            harness.store.start("x0001", NOW, ()),
            harness.store.finish(finish(1)),
            harness.store.mark_sending(["o0001-0"]),
            harness.store.mark_retry("o0001-0", NOW, "again"),
            harness.store.mark_sending(["o0001-0"]),
            harness.store.mark_sent("o0001-0", "p0", NOW),
        ]
        for receipt in receipts:
            await receipt
        assert await _state(harness.store) is LedgerState.ANSWERED
        assert await harness.store.unfinished() == []
