"""Shared state: compare and set, all or nothing, told with the write, and gone with its execution."""

import random
from dataclasses import replace
from typing import Any

import pytest

from gatewayd.core.errors import ExecutionFinished, LimitExceeded, NotFound
from gatewayd.core.event import Event, EventType
from gatewayd.core.state import EVERYWHERE, Place, StateLimits, StateScope
from gatewayd.storage.retention import Limits, Retention
from gatewayd.storage.state import StateOutcome, StateTotals, StateWrite
from gatewayd.testing.store_cases.samples import NOW, Harness, acceptance, finish, session
from gatewayd.wire import data_of

EXECUTION = Place(StateScope.EXECUTION, "x0001")
STREAM = Place(StateScope.STREAM, "helper")
KEYS = ("a", "b", "c.d")


def put(key: str, text: str, place: Place = EVERYWHERE, **more: Any) -> StateWrite:
    put.made += 1  # type: ignore[attr-defined]
    event = Event(f"change-{put.made}", EventType.STATE_CHANGED, "gatewayd", "state", NOW, topic=key)  # type: ignore[attr-defined]
    return StateWrite(place, key, text, event, **more)


put.made = 0  # type: ignore[attr-defined]


async def write(harness: Harness, *writes: StateWrite, now: float = NOW, **limits: int) -> StateOutcome:
    return await harness.store.write_state(writes, writer="ann", now=now, limits=StateLimits(**limits))


async def texts(harness: Harness, place: Place = EVERYWHERE) -> dict[str, str]:
    return {entry.key: entry.text for entry in await harness.store.list_state(place, "", 99)}


def told(harness: Harness) -> list[tuple[str, dict[str, Any]]]:
    return [(event.type.label, data_of(event)) for event in harness.sink.events]


class StateCases:
    async def test_what_there_is_can_be_counted(self, harness: Harness) -> None:
        assert await harness.store.state_totals() == StateTotals({}, 0)
        await write(harness, put("a", "1"), put("b", '"four"', STREAM), put("c", '"gone"', STREAM, expires=NOW - 1))
        before = await harness.store.state_totals()
        assert before.keys == {StateScope.GLOBAL: 1, StateScope.STREAM: 2}
        await write(harness, put("c", "", STREAM), put("a", f'"{"x" * 1000}"'), now=NOW - 2)
        after = await harness.store.state_totals()
        assert after.keys == {StateScope.GLOBAL: 1, StateScope.STREAM: 1}
        assert before.size < after.size < before.size + 1000
        await harness.reopen()
        assert await harness.store.state_totals() == after

    async def test_a_key_holds_what_was_written_last_and_its_version_grows(self, harness: Harness) -> None:
        (first,) = (await write(harness, put("a", "1"))).entries
        (second,) = (await write(harness, put("a", '{"n":[2]}', expires=NOW + 9))).entries
        assert 0 < first.version < second.version
        await harness.reopen()
        assert await harness.store.read_state([(EVERYWHERE, "a"), (EVERYWHERE, "b"), (STREAM, "a")]) == [second]
        assert (second.value, second.writer, second.updated, second.expires) == ({"n": [2]}, "ann", NOW, NOW + 9)

    async def test_a_change_is_told_with_the_write_and_a_conflict_instead_of_it(self, harness: Harness) -> None:
        (entry,) = (await write(harness, put("a", "1", expected=0))).entries
        outcome = await write(harness, put("b", "2"), put("a", "3", expected=entry.version - 1))
        (mismatch,) = outcome.mismatches
        assert (outcome.entries, mismatch.key, mismatch.actual) == ((), "a", entry.version)
        assert await texts(harness) == {"a": "1"}
        await write(harness, put("a", "", expected=entry.version))
        assert told(harness) == [
            ("state_changed", {"key": "a", "old_value": None, "new_value": 1, "scope": "global"}),
            (
                "state_conflict",
                {
                    "key": "a",
                    "expected_version": entry.version - 1,
                    "actual_version": entry.version,
                    "scope": "global",
                },
            ),
            ("state_changed", {"key": "a", "old_value": 1, "new_value": None, "scope": "global"}),
        ]
        # Of every event that was announced the bus hears what became of it.
        announced = sum(len(ids) for what, ids in harness.sink.heard if what == "expected")
        settled = sum(len(ids) for what, ids in harness.sink.heard if what in ("committed", "abandoned"))
        assert announced == settled == 4

    async def test_a_version_never_comes_again_after_a_deletion(self, harness: Harness) -> None:
        (old,) = (await write(harness, put("a", "1"))).entries
        await write(harness, put("a", ""))
        assert (await write(harness, put("a", ""))).entries[0].version == 0
        (new,) = (await write(harness, put("a", "1", expected=0))).entries
        assert new.version > old.version
        assert (await write(harness, put("a", "2", expected=old.version))).mismatches

    async def test_what_has_expired_is_not_there_and_is_dropped_once(self, harness: Harness) -> None:
        (gone,) = (await write(harness, put("a", "1", expires=NOW + 5))).entries
        (kept,) = (await write(harness, put("b", "1", expires=NOW + 50))).entries
        assert await harness.store.expired_state(NOW + 4, 9) == []
        assert await harness.store.expired_state(NOW + 5, 9) == [gone]
        drops = [put("a", "", expected=gone.version), put("b", "", expected=kept.version)]
        assert await harness.store.drop_expired_state(drops, NOW + 5) == 1
        assert await harness.store.drop_expired_state([put("a", "", expected=gone.version)], NOW + 5) == 0
        assert await texts(harness) == {"b": "1"}
        assert (await write(harness, put("b", "2", expected=0), now=NOW + 50)).mismatches == ()
        assert told(harness)[-1][1]["old_value"] is None

    async def test_an_expired_key_that_was_written_anew_is_not_dropped(self, harness: Harness) -> None:
        (old,) = (await write(harness, put("a", "1", expires=NOW + 5))).entries
        await write(harness, put("a", "2"), now=NOW + 6)
        assert await harness.store.drop_expired_state([put("a", "", expected=old.version)], NOW + 6) == 0
        assert await texts(harness) == {"a": "2"}

    async def test_the_bounds_hold_and_a_refused_transaction_leaves_nothing(self, harness: Harness) -> None:
        await write(harness, put("a", "1"), put("b", "1"), keys=2)
        for limits in ({"keys": 2}, {"total_bytes": 300}):
            with pytest.raises(LimitExceeded):
                await write(harness, put("a", "2"), put("c", "1"), **limits)
        assert await texts(harness) == {"a": "1", "b": "1"}
        # In the place of one that goes, and where there is room.
        await write(harness, put("a", ""), put("c", "1"), keys=2, total_bytes=300)
        await write(harness, put("a", "1", STREAM), keys=2)
        await harness.reopen()
        assert await texts(harness) == {"b": "1", "c": "1"}
        with pytest.raises(LimitExceeded):
            await write(harness, put("e", "1"), total_bytes=400)

    async def test_state_of_an_execution_is_written_while_it_lives_and_goes_with_it(self, harness: Harness) -> None:
        with pytest.raises(NotFound):
            await write(harness, put("a", "1", EXECUTION))
        await harness.store.accept(acceptance(1, record=session()))
        await write(harness, put("a", "1", EXECUTION), put("a", "2", STREAM))
        await harness.store.finish(finish(1))
        with pytest.raises(ExecutionFinished):
            await write(harness, put("a", "3", EXECUTION))
        assert await texts(harness, EXECUTION) == {"a": "1"}
        await harness.store.mark_sending(["o0001-0"])
        await harness.store.mark_sent("o0001-0", "p", NOW)
        await harness.store.sweep(Retention({"executions": Limits(max_age=1)}), NOW + 1_000_000)
        assert await texts(harness, EXECUTION) == {}
        assert await texts(harness, STREAM) == {"a": "2"}

    async def test_erasing_a_session_erases_the_state_of_its_executions(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1, record=session()))
        await write(harness, put("a", '"private"', EXECUTION))
        await harness.store.erase_session("s1")
        assert await texts(harness, EXECUTION) == {}

    async def test_random_transactions_do_what_a_simple_model_does(self, harness: Harness) -> None:
        chance = random.Random(7)
        model: dict[str, tuple[str, int]] = {}
        for round_ in range(300):
            writes, wanted = [], {}
            for key in chance.sample(KEYS, chance.randint(1, len(KEYS))):
                text = chance.choice(["", "1", '"two"', "[3]"])
                version = model.get(key, ("", 0))[1]
                expected = chance.choice([None, version, version, version + 1])
                writes.append(put(key, text, expected=expected))
                wanted[key] = (text, expected is None or expected == version)
            outcome = await write(harness, *writes)
            fits = all(ok for _, ok in wanted.values())
            assert bool(outcome.mismatches) is not fits
            if fits:
                for one, entry in zip(writes, outcome.entries, strict=True):
                    if one.text:
                        model[one.key] = (one.text, entry.version)
                    else:
                        model.pop(one.key, None)
            if round_ % 100 == 99:
                await harness.reopen()
            rows = await harness.store.list_state(EVERYWHERE, "", 99)
            assert {row.key: (row.text, row.version) for row in rows} == model

    async def test_a_write_after_a_unit_that_failed_in_the_same_group_counts_right(self, harness: Harness) -> None:
        good = [
            harness.store.write_state([put(f"k{n}", "1")], writer="a", now=NOW, limits=StateLimits()) for n in (1, 2)
        ]
        broken = replace(put("bad", "1"), text="{not json")
        bad = harness.store.write_state([put("k3", "1"), broken], writer="a", now=NOW, limits=StateLimits())
        for one in good:
            assert (await one).entries
        with pytest.raises(Exception, match="could not apply"):
            await bad
        assert await texts(harness) == {"k1": "1", "k2": "1"}
