"""What is kept and what goes: retention, erasure, audit, tokens."""

from dataclasses import replace

from gatewayd.core.work import LedgerState
from gatewayd.storage.records import AuditRecord, LedgerChange, Step, StoreHealth
from gatewayd.storage.retention import Limits, Retention
from gatewayd.testing.store_cases.samples import (
    ALL,
    NOW,
    Harness,
    acceptance,
    answered,
    died,
    event,
    finish,
    letter,
    published,
    session,
    turn,
)

TABLES = ("events", "sessions", "executions", "inbox", "outbox", "ledger", "seen", "audit", "dead_letters")


def everything(limits: Limits) -> Retention:
    return Retention(dict.fromkeys(TABLES, limits))


class UpkeepCases:
    async def test_the_audit_trail_is_kept_newest_first(self, harness: Harness) -> None:
        entries = [AuditRecord(NOW + n, "ann", "Reload", "gateway.yaml", "allow", f"{n}") for n in range(3)]
        for entry in entries:
            await harness.store.record_audit(entry)
        await harness.reopen()
        assert await harness.store.list_audit(limit=2) == entries[:0:-1]

    async def test_a_revoked_token_stays_revoked(self, harness: Harness) -> None:
        await harness.store.revoke_token("ab" * 32, NOW)
        await harness.store.revoke_token("ab" * 32, NOW + 1)
        await harness.reopen()
        assert await harness.store.revoked_tokens() == {"ab" * 32}

    async def test_sweeping_never_deletes_live_work(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        await harness.store.accept(acceptance(2))
        await harness.store.finish(finish(2, turn=turn(2)))
        deleted = await harness.store.sweep(everything(Limits(max_age=1)), NOW + 1_000_000)
        assert {table: count for table, count in deleted.items() if count} == {"seen": 2}
        assert [kept.id for kept in await harness.store.unfinished()] == ["x0001"]
        assert [row.id for row in await harness.store.pending_outbox("tg")] == ["o0002-0"]
        for message_id in ("m0001", "m0002"):
            story = await harness.store.story(message_id)
            assert story is not None
            assert story.inbound.text
        assert len(await harness.store.history("s1", 0, 0)) == 2

    async def test_what_waits_is_told_by_channel_and_what_waits_too_long_is_found(self, harness: Harness) -> None:
        for number in (1, 2, 3, 4):
            await harness.store.accept(acceptance(number))
        await harness.store.finish(finish(1, pieces=2))
        await harness.store.finish(finish(2))
        await harness.store.mark_sending(["o0002-0"])
        await harness.store.finish(replace(finish(3), outbox=()))  # its story waits for what is not there
        assert await harness.store.waiting_answers(besides=(), limit=10) == {"tg": 2}
        assert await harness.store.waiting_answers(besides=["tg"], limit=10) == {}
        overdue = await harness.store.overdue_pieces(NOW + 2, besides=["other"], limit=10)
        assert [row.id for row in overdue] == ["o0001-0", "o0001-1"]
        assert await harness.store.overdue_pieces(NOW + 2, besides=["tg"], limit=10) == []
        assert [row.id for row in await harness.store.overdue_pieces(NOW + 9, besides=(), limit=3)][-1] == "o0002-0"
        assert [story.message_id for story in await harness.store.overdue_stories(NOW + 9, 10)] == ["m0003"]
        assert await harness.store.overdue_stories(NOW, 10) == []
        end = LedgerChange("m0003", LedgerState.EXPIRED, Step("expired", NOW + 9, "why"))
        await harness.store.end_story(end)
        await harness.store.end_story(replace(end, state=LedgerState.ANSWERED))
        story = await harness.store.story("m0003")
        assert story is not None
        assert (story.state, story.steps[-1].name) == (LedgerState.EXPIRED, "expired")
        assert await harness.store.overdue_stories(NOW + 9, 10) == []

    async def test_sweeping_by_age_deletes_what_has_ended(self, harness: Harness) -> None:
        await answered(harness.store, 1)
        await harness.store.end_session("s1", "idle", NOW, ())
        deleted = await harness.store.sweep(everything(Limits(max_age=1000)), NOW + 500)
        assert set(deleted.values()) == {0}
        deleted = await harness.store.sweep(everything(Limits(max_age=1000)), NOW + 5000)
        assert deleted == dict.fromkeys(TABLES, 0) | dict.fromkeys(
            ("sessions", "executions", "inbox", "outbox", "ledger", "seen"), 1
        )
        assert await harness.store.story("m0001") is None
        assert await harness.store.get_session("s1") is None
        again = await harness.store.accept(acceptance(1))
        assert not again.duplicate

    async def test_sweeping_by_count_deletes_the_oldest(self, harness: Harness) -> None:
        for number in range(1, 6):
            await answered(harness.store, number)
        deleted = await harness.store.sweep(Retention({"ledger": Limits(max_count=2)}), NOW)
        assert deleted == {"ledger": 3}
        kept = await harness.store.list_messages(states=(), channel="", session_id="", before="", limit=9)
        assert [record.message_id for record in kept] == ["m0005", "m0004"]

    async def test_sweeping_goes_on_in_bites_until_the_bound_holds(self, harness: Harness) -> None:
        for batch in range(5):
            names = [f"e{batch}-{n}" for n in range(500)]
            await harness.store.append(published(*names), scope="ann")
        deleted = await harness.store.sweep(
            Retention({"events": Limits(max_count=10), "seen": Limits(max_count=5)}), NOW
        )
        assert deleted == {"events": 2490, "seen": 2495}
        assert harness.store.log.first_seq == 2491

    async def test_a_journal_that_was_swept_leaves_the_story(self, harness: Harness) -> None:
        await answered(harness.store, 1)
        await harness.store.sweep(Retention({"inbox": Limits(max_age=1)}), NOW + 1000)
        story = await harness.store.story("m0001")
        assert story is not None
        assert (story.state, story.inbound.channel, story.inbound.text) == (LedgerState.ANSWERED, "tg", "")

    async def test_a_dead_piece_stays_while_it_can_be_sent_again(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        await harness.store.finish(finish(1))
        await harness.store.mark_sending(["o0001-0"])
        await harness.store.mark_dead("o0001-0", letter("d1", 1), died(1))
        deleted = await harness.store.sweep(Retention({"outbox": Limits(max_age=1)}), NOW + 1000)
        assert deleted == {"outbox": 0}
        assert (await harness.store.retry_dead_letter("d1", NOW, "ann")).id == "o0001-0"

    async def test_erasing_a_session_removes_every_text_and_keeps_the_stories(self, harness: Harness) -> None:
        secret = "my secret"
        for number in (1, 2):
            await harness.store.accept(
                acceptance(number, text=secret, events=(event(f"e{number}", content=secret, session_id="s1"),))
            )
            await harness.store.finish(replace(finish(number, turn=turn(number)), output=secret))
        await harness.store.mark_sending(["o0001-0"])
        await harness.store.mark_sent("o0001-0", "p1", NOW)
        assert await harness.store.erase_session("s1") is True
        assert await harness.store.erase_session("unknown") is False
        await harness.reopen()
        assert await harness.store.history("s1", 0, 0) == []
        executions = await harness.store.list_executions(states=(), session_id="s1", agent="", before="", limit=9)
        assert [(kept.id, kept.text, kept.output) for kept in executions] == [("x0002", "", ""), ("x0001", "", "")]
        story = await harness.store.story("m0001")
        assert story is not None
        assert (story.state, story.inbound.text) == (LedgerState.ANSWERED, "")
        events = (await harness.store.read_forward(0, ALL, 9)).events
        assert [found.id for found in events] == ["e1", "e2"]
        assert all(secret.encode() not in found.wire for found in events)
        # What was not sent yet is not sent any more.
        assert await harness.store.pending_outbox("tg") == []

    async def test_erasing_one_session_touches_no_other(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        await harness.store.accept(acceptance(2, record=session("s2", "k2")))
        await harness.store.erase_session("s1")
        kept = await harness.store.get_execution("x0002")
        assert kept is not None
        assert kept.text == "question 2"

    async def test_what_was_submitted_is_written_before_the_store_closes(self, harness: Harness) -> None:
        assert harness.store.health is StoreHealth.OK
        store, waiting = harness.store, [harness.store.append(published(f"e{n}"), scope="ann") for n in range(50)]
        await harness.reopen()
        assert [(await receipt)[0].seq for receipt in waiting] == list(range(1, 51))
        assert store.health is StoreHealth.CLOSED
        assert harness.store.log.last_seq == 50
