"""What is queued is sent once and in order per chat; what is not sent is told."""

import asyncio

import pytest
from channel_rig import OutboxRig, ToldAdapter, row

from gatewayd.channels.base import SendRejected
from gatewayd.core.errors import StoreBusy, StoreFull
from gatewayd.core.work import LedgerState
from gatewayd.storage.records import OutboxState


async def test_rows_are_marked_before_and_after_they_are_sent() -> None:
    async with OutboxRig() as rig:
        rig.start()
        rig.offer(row(1))
        await rig.clock.advance(0)

        assert rig.adapter.texts() == ["text 1"]
        assert rig.store.log == ["sending row-00001", "sent row-00001"]
        assert rig.store.rows["row-00001"].platform_id == "platform-row-00001"
        assert rig.outbox.queued == 0


async def test_nothing_is_sent_while_the_channel_is_down() -> None:
    async with OutboxRig() as rig:
        rig.outbox.use(rig.adapter)
        rig.outbox.start()
        rig.offer(row(1))
        await rig.clock.advance(100)
        assert rig.adapter.tried == []

        rig.outbox.connected(True)
        await rig.clock.advance(0)

        assert rig.adapter.texts() == ["text 1"]


async def test_a_chat_keeps_its_order_and_does_not_hold_up_another() -> None:
    async with OutboxRig() as rig:
        rig.start()
        rig.adapter.outcomes["a1"] = [30.0]
        rig.offer(row(1, "a1", chat="a"), row(2, "a2", chat="a"), row(3, "b1", chat="b"), row(4, "b2", chat="b"))
        await rig.clock.advance(1)
        assert rig.adapter.texts() == ["b1", "b2"]

        await rig.clock.advance(30)

        assert rig.adapter.texts("a") == ["a1", "a2"]


async def test_rows_of_many_chats_are_marked_in_one_commit() -> None:
    async with OutboxRig() as rig:
        rig.start()
        rig.offer(*(row(number, chat=f"chat {number}") for number in range(50)))
        await rig.clock.advance(0)

        assert len(rig.adapter.sent) == 50
        assert sum(line.startswith("sending") for line in rig.store.log) == 1


async def test_F80_a_row_found_sending_is_held_as_a_dead_letter() -> None:
    async with OutboxRig() as rig:
        rig.store.put(
            row(1, "cut", message="m", state=OutboxState.SENDING), row(2, "rest", message="m"), row(3, "other")
        )
        rig.start()
        await rig.clock.advance(0)

        assert rig.adapter.texts() == ["other"]
        assert rig.store.states() == {"row-00001": "dead", "row-00002": "dead", "row-00003": "sent"}
        assert [letter.reason for letter in rig.store.letters] == ["ambiguous"]
        assert rig.store.steps[0].state is LedgerState.DEAD_LETTERED


@pytest.mark.parametrize(("idempotent", "policy"), [(True, "hold"), (True, "resend"), (False, "resend")])
async def test_F80_a_row_found_sending_is_resent_with_its_key(idempotent: bool, policy: str) -> None:
    async with OutboxRig(idempotent=idempotent) as rig:
        rig.section_of(ambiguous=policy)
        rig.store.put(row(1, state=OutboxState.SENDING, attempts=1))
        rig.start()
        await rig.clock.advance(0)

        assert [message.key for message in rig.adapter.sent] == ["message-1/1"]
        assert rig.store.rows["row-00001"].attempts == 2
        assert rig.store.letters == []


@pytest.mark.parametrize(
    ("idempotent", "policy", "resent"),
    [(False, "hold", False), (False, "resend", True), (True, "hold", True), (True, "resend", True)],
)
async def test_a_send_that_breaks_off_is_ambiguous(idempotent: bool, policy: str, resent: bool) -> None:
    async with OutboxRig(idempotent=idempotent) as rig:
        rig.section_of(ambiguous=policy)
        rig.start()
        rig.adapter.outcomes["text 1"] = [ConnectionResetError("cut")]
        rig.offer(row(1), row(2))
        await rig.clock.advance(10)

        assert rig.adapter.tried == (["text 1", "text 1", "text 2"] if resent else ["text 1", "text 2"])
        assert [letter.reason for letter in rig.store.letters] == ([] if resent else ["ambiguous"])


async def test_a_send_that_a_stop_cuts_off_is_ambiguous_and_what_waits_stays() -> None:
    async with OutboxRig() as rig:
        rig.start()
        rig.adapter.outcomes["text 1"] = [1000.0]
        rig.offer(row(1), row(2))
        await rig.clock.advance(0)

        await rig.clock.run(rig.outbox.stop())

        assert rig.store.states() == {"row-00001": "dead", "row-00002": "queued"}
        assert rig.store.letters[0].reason == "ambiguous"


async def test_a_stop_between_mark_and_send_leaves_the_row_queued() -> None:
    """Nobody has called the platform, so there is nothing ambiguous about it."""
    async with OutboxRig() as rig:
        rig.start()
        await rig.clock.advance(0)
        rig.offer(row(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        await rig.clock.run(rig.outbox.stop())

        assert rig.adapter.tried == []
        assert rig.store.states() == {"row-00001": "queued"}


async def test_F81_poison_is_a_dead_letter_and_others_go_on() -> None:
    async with OutboxRig() as rig:
        rig.start()
        rig.adapter.outcomes["bad"] = [SendRejected("can't parse entities")]
        rig.offer(row(1, "bad", message="m"), row(2, "bad too", message="m"), row(3, "good"))
        await rig.clock.advance(0)

        assert rig.adapter.texts() == ["good"]
        assert rig.store.letters[0].reason == "rejected: can't parse entities"
        assert rig.store.states() == {"row-00001": "dead", "row-00002": "dead", "row-00003": "sent"}


async def test_an_operator_s_retry_sends_all_pieces_that_went_with_it() -> None:
    async with OutboxRig() as rig:
        rig.start()
        rig.adapter.outcomes["one"] = [SendRejected("no")]
        rig.offer(row(1, "one", message="m"), row(2, "two", message="m"))
        await rig.clock.advance(0)
        assert rig.adapter.texts() == []

        rig.store.put(row(1, "one", message="m"), row(2, "two", message="m"))
        await rig.outbox.retry(rig.store.rows["row-00001"])
        await rig.clock.advance(0)

        assert rig.adapter.texts() == ["one", "two"]


@pytest.mark.parametrize("failure", [StoreBusy("queue full"), StoreFull("no space")])
async def test_a_store_that_is_unwilling_for_a_moment_delays_and_loses_nothing(failure: Exception) -> None:
    async with OutboxRig() as rig:
        rig.start()
        await rig.clock.advance(0)
        rig.store.failures = [failure]
        rig.offer(row(1))
        await rig.clock.advance(5)
        assert rig.adapter.texts() == ["text 1"]

        rig.adapter.outcomes["text 2"] = [1.0]
        rig.offer(row(2))
        await rig.clock.advance(0.5)
        rig.store.failures = [failure, failure]
        await rig.clock.advance(10)

        assert rig.store.states() == {"row-00001": "sent", "row-00002": "sent"}
        assert rig.adapter.texts() == ["text 1", "text 2"]


async def test_drain_waits_for_what_can_be_sent_and_tells_when_time_is_over() -> None:
    async with OutboxRig() as rig:
        rig.start()
        rig.adapter.outcomes["text 1"] = [3.0]
        rig.adapter.outcomes["text 2"] = [100.0]
        rig.offer(row(1))
        assert await rig.clock.run(rig.outbox.drain(10))
        assert rig.store.states() == {"row-00001": "sent"}

        rig.offer(row(2))

        assert not await rig.clock.run(rig.outbox.drain(10))


async def test_drain_does_not_wait_for_a_channel_that_is_down() -> None:
    async with OutboxRig() as rig:
        rig.outbox.use(rig.adapter)
        rig.outbox.start()
        rig.offer(row(1))
        await rig.clock.advance(0)

        assert await rig.clock.run(rig.outbox.drain(10))
        assert rig.clock.monotonic() == 0


async def test_another_adapter_takes_over_between_two_sends() -> None:
    async with OutboxRig() as rig:
        rig.start()
        rig.adapter.outcomes["text 1"] = [5.0]
        rig.offer(row(1), row(2))
        await rig.clock.advance(0)
        new = ToldAdapter(rig.clock)
        rig.outbox.use(new)
        old_is_free = asyncio.ensure_future(rig.outbox.released(rig.adapter))
        await rig.clock.advance(1)
        assert not old_is_free.done()

        await rig.clock.advance(5)

        assert old_is_free.done()
        assert rig.adapter.texts() == ["text 1"]
        assert new.texts() == ["text 2"]


class Points:
    def __init__(self, fail_at: str = "") -> None:
        self.hits: list[str] = []
        self.fail_at = fail_at

    def hit(self, point: str) -> None:
        self.hits.append(point)
        if point == self.fail_at:
            self.fail_at = ""
            raise RuntimeError("planned")


async def test_every_point_of_a_send_is_passed_in_order() -> None:
    points = Points()
    async with OutboxRig(failpoints=points) as rig:
        rig.start()
        rig.offer(row(1))
        await rig.clock.advance(0)

        assert points.hits == ["outbox.after_mark_sending", "outbox.after_send", "outbox.after_mark_sent"]


@pytest.mark.parametrize(
    ("point", "state"),
    [("outbox.after_mark_sending", "sent"), ("outbox.after_send", "dead"), ("outbox.after_mark_sent", "sent")],
)
async def test_a_failure_at_any_point_loses_nothing_and_sends_nothing_twice(point: str, state: str) -> None:
    async with OutboxRig(failpoints=Points(point)) as rig:
        rig.start()
        rig.offer(row(1), row(2))
        await rig.clock.advance(60)

        assert rig.store.states() == {"row-00001": state, "row-00002": "sent"}
        assert rig.adapter.texts() == ["text 1", "text 2"]
