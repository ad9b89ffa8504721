"""Where a feed of events goes on: behind a restart, a crash and a reload, and when its place is gone."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from feeds_rig import HOOK, WATCH, config, feeds

from gatewayd.core.errors import LimitExceeded, StoreBusy
from gatewayd.core.event import EventType
from tests.rigs.house import eventually


async def test_it_goes_on_where_it_was_after_a_restart(tmp_path: Path) -> None:
    """What came while it was not there is brought; what was brought before is not."""
    async with feeds(tmp_path, config(watch=WATCH)) as first:
        await first.emit()
        await first.brings(1)
        await first.feeds.stop()
        await first.emit()
    async with feeds(tmp_path, config(watch=WATCH)) as second:
        (told,) = await second.brings(1)

    assert told["data"]["n"] == 2
    assert (EventType.STREAM_STARTED, "watch") in second.told


async def test_a_crash_before_the_mark_brings_nothing_twice(tmp_path: Path) -> None:
    """The place in the log is the key of the execution."""
    async with feeds(tmp_path, config(watch=WATCH)) as first:

        async def marked() -> str | None:
            return (await first.middle.store.marks("entry_point ")).get("entry_point watch")

        await eventually(marked)
        mark = await marked()
        await first.emit()
        await first.brings(1)
        await first.feeds.stop()
        await first.middle.store.set_mark("entry_point watch", mark)
    async with feeds(tmp_path, config(watch=WATCH)) as second:
        await second.emit()
        (told,) = await second.brings(1)

    assert told["data"]["n"] == 1  # the second house counts anew: this is its own event, and the only one


async def test_the_mark_of_an_entry_point_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    """By a reload, and by a start without it; when it comes again, it begins with what happens then."""
    async with feeds(tmp_path, config(watch=WATCH, hook=HOOK)) as made:
        store = made.middle.store

        async def marked() -> bool:
            return len(await store.marks("entry_point ")) == 2

        await eventually(marked)
        await made.reload(config(hook=HOOK))
        assert list(await store.marks("entry_point ")) == ["entry_point hook"]
    async with feeds(tmp_path, config()) as later:
        assert await later.middle.store.marks("entry_point ") == {}


async def test_events_that_are_no_longer_kept_are_told_and_it_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A place that the log does not reach back to costs what is gone, and nothing else."""
    async with feeds(tmp_path, config(watch=WATCH)) as first:
        await first.emit()
        await first.brings(1)
        await first.feeds.stop()
        epoch = first.middle.store.log.epoch
        await first.middle.store.set_mark("entry_point watch", f"{epoch}:999999")
    with caplog.at_level(logging.ERROR):
        async with feeds(tmp_path, config(watch=WATCH)) as second:
            await second.emit()
            await second.brings(1)

    assert "entry_point_missed_events" in caplog.messages


async def test_a_place_in_a_log_that_is_gone_is_told_and_it_begins_with_what_happens_then(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with feeds(tmp_path, config(watch=WATCH)) as first:
        await first.emit()
        await first.brings(1)
        await first.feeds.stop()
        await first.middle.store.set_mark("entry_point watch", "before:1")
    with caplog.at_level(logging.ERROR):
        async with feeds(tmp_path, config(watch=WATCH)) as second:

            async def told() -> bool:
                return "entry_point_missed_events" in caplog.messages

            await eventually(told)
            await second.emit()
            await second.brings(1)


async def test_a_reload_leaves_alone_what_waits_for_the_same(tmp_path: Path) -> None:
    """A new priority or agent restarts no feed; another filter does."""
    async with feeds(tmp_path, config(watch=WATCH)) as made:
        feed = made.feeds._feeds["watch"]
        await made.reload(config(watch=WATCH | {"priority": 5, "agent": "b"}))
        assert made.feeds._feeds["watch"] is feed
        await made.emit()
        await made.brings(1)
        await made.reload(config(watch=HOOK))
        assert made.feeds._feeds["watch"] is not feed

    assert made.told.count((EventType.STREAM_STARTED, "watch")) == 1
    assert made.told.count((EventType.STREAM_STOPPED, "watch")) == 1


async def test_another_filter_goes_on_from_where_the_old_one_was(tmp_path: Path) -> None:
    """What happened before the reload starts nothing, however old the mark in the store is; what comes then does."""
    async with feeds(tmp_path, config(watch=HOOK)) as made:
        feed = made.feeds._feeds["watch"]

        async def looked_at() -> bool:
            return feed.place == passed.cursor

        passed = await made.emit()
        await eventually(looked_at)
        await made.reload(config(watch=WATCH))
        await made.emit()
        (told,) = await made.brings(1)

    assert told["data"]["n"] == 2


async def test_who_never_rests_is_marked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One event after another must not leave the mark where it was: a restart would read everything again."""
    monkeypatch.setattr("gatewayd.runtime.log_reader.MARK_EVERY", 3600.0)
    monkeypatch.setattr("gatewayd.runtime.log_reader.MARK_BEHIND", 5)
    async with feeds(tmp_path, config(watch=WATCH)) as made:

        async def mark() -> str | None:
            return (await made.middle.store.marks("entry_point ")).get("entry_point watch")

        first = await eventually(mark)
        for _ in range(6):
            await made.emit()
        await made.brings(6)

        async def moved() -> bool:
            return await mark() != first

        await eventually(moved)


async def test_what_is_erased_while_an_event_waits_for_room_starts_nothing_with_its_words(tmp_path: Path) -> None:
    """The feed has read the event already, and no other reader of the log would find the words any more."""
    notes = WATCH | {"trigger_config": {"event_types": ["custom"]}}
    async with feeds(tmp_path, config(watch=notes)) as made:
        said = (await made.middle.send("hello")).live.execution
        made.full = LimitExceeded("full")
        await made.emit(data={"n": "my secret"}, session_id=said.session_id)
        await made.tried.wait()

        await made.middle.store.erase_session(said.session_id)
        await made.feeds.reread()
        made.full = None

        (brought,) = await made.brings(1)
        assert "my secret" not in json.dumps(brought)


async def test_an_event_that_was_erased_since_it_was_taken_is_no_fault_when_it_is_read_again(tmp_path: Path) -> None:
    """After a restart a feed is told of events behind its mark again; what it has made of them before stands."""
    settings = config(watch=WATCH | {"trigger_config": {"event_types": ["custom"]}})
    async with feeds(tmp_path, settings) as made:
        said = (await made.middle.send("hello")).live.execution
        start = made.middle.bus.end
        await made.emit(data={"n": "my secret"}, session_id=said.session_id)
        await made.brings(1)
        await made.middle.store.erase_session(said.session_id)
    async with feeds(tmp_path, settings) as again:
        await again.feeds.stop()
        await again.middle.store.set_mark("entry_point watch", str(start))
    async with feeds(tmp_path, settings) as last:
        await last.emit(data={"n": 2})
        (brought,) = await last.brings(1)
        assert brought["data"] == {"n": 2}
        assert EventType.ERROR not in [kind for kind, _ in last.told]


async def test_a_new_entry_point_has_its_place_on_disk_before_it_begins(tmp_path: Path) -> None:
    """An event that is acknowledged right after the reload, or the start, starts it over a crash at that moment."""
    async with feeds(tmp_path, config()) as made:
        made.middle.use(config(watch=WATCH))
        refused = made.feeds.plan(made.middle.config)
        await refused.prepare()
        await refused.abandon()
        assert await made.middle.store.marks("entry_point ") == {}

        change = made.feeds.plan(made.middle.config)
        await change.prepare()
        assert list(await made.middle.store.marks("entry_point ")) == ["entry_point watch"]
        await made.emit()  # and here it dies
    async with feeds(tmp_path, config(watch=WATCH)) as after:
        (told,) = await after.brings(1)
        assert told["data"] == {"n": 1}


async def test_of_places_of_which_one_cannot_be_written_none_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever adds them later would start them with what has happened since."""
    async with feeds(tmp_path, config()) as made:
        store, write = made.middle.store, made.middle.store.set_mark

        def set_mark(name: str, *more: Any) -> Any:
            if name == "entry_point watch":
                raise StoreBusy("busy")
            return write(name, *more)

        monkeypatch.setattr(store, "set_mark", set_mark)
        made.middle.use(config(hook=HOOK, watch=WATCH))
        refused = made.feeds.plan(made.middle.config)
        with pytest.raises(StoreBusy):
            await refused.prepare()
        await refused.abandon()

        await write("another", "behind all of them")
        assert await store.marks("entry_point ") == {}
