"""An outbox holds so many rows in memory, and finds all the others in the store."""

from channel_rig import OutboxRig, row

from gatewayd.channels.base import SendRejected
from gatewayd.testing.fakes import until


async def test_memory_holds_so_many_rows_and_the_store_the_rest() -> None:
    async with OutboxRig(max_rows=10) as rig:
        rig.store.put(*(row(number, chat=str(number % 3)) for number in range(95)))
        rig.outbox.use(rig.adapter)
        rig.outbox.start()
        await rig.clock.advance(0)
        assert rig.outbox.queued == 10

        rig.outbox.connected(True)
        rig.offer(row(95, chat="0"), row(96, chat="1"))
        await until(lambda: len(rig.adapter.sent) == 97)

        assert max(rig.store.pages) <= 10
        for chat in "012":
            numbers = [int(text.split()[1]) for text in rig.adapter.texts(chat)]
            assert numbers == sorted(numbers)


async def test_a_flood_of_offers_does_not_fill_the_memory() -> None:
    async with OutboxRig(max_rows=10) as rig:
        rig.start()
        rig.adapter.outcomes["text 0"] = [60.0]
        await rig.clock.advance(0)
        rig.offer(*(row(number) for number in range(500)))
        await rig.clock.advance(1)
        assert len(rig.outbox._backlog.lanes) <= 10
        assert rig.outbox.queued == 500

        await rig.clock.advance(60)
        await until(lambda: len(rig.adapter.sent) == 500)

        assert rig.adapter.texts() == [f"text {number}" for number in range(500)]


async def test_a_row_committed_later_with_an_earlier_id_is_not_passed_by() -> None:
    async with OutboxRig(max_rows=4) as rig:
        rig.start()
        await rig.clock.advance(0)
        rig.outbox.connected(False)
        rig.offer(*(row(number, chat=str(number)) for number in range(10, 20)))
        await rig.clock.advance(0)

        rig.offer(row(11, "late", chat="late", id="row-00010x"))
        rig.outbox.connected(True)
        await rig.clock.run(rig.outbox.drain(60))

        assert "late" in rig.adapter.texts()
        assert len(rig.adapter.sent) == 11


async def test_what_is_offered_while_a_page_is_on_its_way_is_sent_once() -> None:
    async with OutboxRig() as rig:
        rig.store.put(row(1), row(5))
        rig.store.page_gate.clear()
        rig.start()
        await rig.clock.advance(0)
        rig.offer(row(3, "committed after the page was read"), row(7))
        rig.outbox.offer([row(5)])

        rig.store.page_gate.set()
        await rig.clock.advance(0)

        assert sorted(rig.adapter.texts()) == ["committed after the page was read", "text 1", "text 5", "text 7"]


async def test_a_question_that_was_given_up_does_not_keep_the_answer_from_being_sent() -> None:
    """Both are of one message; a page brings the answer, since memory was full when it was offered."""
    async with OutboxRig(max_rows=4) as rig:
        rig.adapter.outcomes["question"] = [SendRejected("no")]
        rig.start()
        await rig.clock.advance(0)
        rig.offer(row(1, "question", message_id="m", key="m/asked/0"))
        await rig.clock.advance(1)
        rig.outbox.connected(False)
        rig.offer(*(row(number, chat=str(number)) for number in range(2, 12)))
        rig.offer(row(12, "answer", message_id="m", key="m/0"))
        rig.outbox.connected(True)
        await rig.clock.run(rig.outbox.drain(60))

        assert "answer" in rig.adapter.texts()
