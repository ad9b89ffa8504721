"""Entry points that wait for events: each event once, none of their own, and places that survive a restart."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gatewayd.agents.base import AgentContext, Output, TextOutput, Turn
from gatewayd.core.clock import SystemClock
from gatewayd.core.errors import GatewayError, InvalidArgument, LimitExceeded, StoreBusy
from gatewayd.core.event import Event, EventType
from gatewayd.core.state import EVERYWHERE, StateScope
from gatewayd.core.work import Origin, Trigger
from gatewayd.runtime import lanes
from gatewayd.runtime.emit import SOURCE, ExecutionEvents
from gatewayd.runtime.entry_points import EntryPointFeeds, shares
from gatewayd.runtime.event_feed import input_of
from gatewayd.runtime.state import Change, SharedState
from gatewayd.storage.records import Published
from gatewayd.wire import decode_event, event_bytes, with_wire
from tests.rigs.house import eventually
from tests.rigs.middle import Middle

WATCH = {"agent": "a", "trigger": "event", "trigger_config": {"event_types": ["custom", "execution_completed"]}}
HOOK = {"agent": "a", "trigger": "webhook", "trigger_config": {"source_id": "github"}}


def config(**entry_points: Any) -> dict[str, Any]:
    return {"entry_points": entry_points}


class Feeds:
    """A middle of the house, its feeds, and what they brought."""

    def __init__(self, place: Path, settings: dict[str, Any]) -> None:
        self.middle = Middle(place, settings, SystemClock())
        self.brought: list[Trigger] = []
        self.refusals: list[GatewayError] = []
        self.full: GatewayError | None = None
        self.tried = asyncio.Event()
        self.told: list[tuple[EventType, str]] = []
        self.feeds = EntryPointFeeds(
            store=self.middle.store,
            bus=self.middle.bus,
            clock=self.middle.clock,
            dispatch=self.dispatch,
            tell=self.tell,
        )
        self.made = 0
        for agent in self.middle.agents.values():
            agent.may_end.set()

    def tell(self, kind: EventType, _data: Mapping[str, object], stream_id: str, _correlation_id: str) -> None:
        self.told.append((kind, stream_id))

    async def dispatch(self, trigger: Trigger) -> None:
        self.tried.set()
        if self.refusals:
            raise self.refusals.pop(0)
        if self.full is not None:
            raise self.full
        accepted = (await self.middle.router.accept_trigger(trigger)).accepted
        if not accepted.duplicate:
            self.brought.append(trigger)

    async def reload(self, settings: dict[str, Any]) -> None:
        self.middle.use(settings)
        change = self.feeds.plan(self.middle.config)
        await change.prepare()
        change.commit()
        await change.retire()

    async def emit(self, kind: EventType = EventType.CUSTOM, stream: str = "s", **more: Any) -> Event:
        self.made += 1
        event = Event(
            id=f"e{self.middle.ids.new()}",
            type=kind,
            source="test",
            stream_id=stream,
            time=1.0,
            custom_type="note" if kind is EventType.CUSTOM else "",
            **({"data": {"n": self.made} if kind is EventType.CUSTOM else {}} | more),
        )
        (stamped,) = await self.middle.store.append([Published(event)], scope="")
        return stamped

    async def brings(self, count: int) -> list[dict[str, Any]]:
        """The events that were brought, once there are so many."""

        async def there() -> bool:
            return len(self.brought) >= count

        await eventually(there, timeout=60)
        await asyncio.sleep(0.05)  # one too many would be there by now
        assert len(self.brought) == count
        return [json.loads(one.text)["event"] for one in self.brought]


@asynccontextmanager
async def feeds(place: Path, settings: dict[str, Any]) -> AsyncIterator[Feeds]:
    made = Feeds(place, settings)
    async with made.middle:
        await made.reload(settings)
        await made.feeds.start()
        try:
            yield made
        finally:
            await made.feeds.stop()


async def test_a_webhooks_requests_start_its_entry_point_and_no_other(tmp_path: Path) -> None:
    """webhook_received of the stream that is named; the same can be said as an event."""
    same = {"agent": "a", "trigger": "event", "trigger_config": {"event_types": ["webhook_received"]}}
    async with feeds(tmp_path, config(hook=HOOK, every=same)) as made:
        payload = {"path": "/github", "method": "POST", "payload": {"action": "opened"}}
        await made.emit(EventType.WEBHOOK_RECEIVED, "github", data=payload)
        await made.emit(EventType.WEBHOOK_RECEIVED, "gitlab", data=payload)
        told = await made.brings(3)

    assert sorted((one.entry_point, event["stream_id"]) for one, event in zip(made.brought, told, strict=True)) == [
        ("every", "github"),
        ("every", "gitlab"),
        ("hook", "github"),
    ]
    assert {event["data"]["payload"]["action"] for event in told} == {"opened"}
    assert {one.origin for one in made.brought} == {Origin.EVENT}


async def test_a_durable_and_an_ephemeral_event_each_start_it_once(tmp_path: Path) -> None:
    async with feeds(tmp_path, config(watch=WATCH)) as made:
        stored = await made.emit()
        await made.brings(1)
        fleeting = Event("f1", EventType.CUSTOM, "test", "s", 1.0, {"n": 0}, custom_type="note", durable=False)
        made.middle.bus.publish(with_wire(fleeting))
        await made.brings(2)

    assert {one.idempotency_key for one in made.brought} == {str(stored.cursor), "event f1"}


async def test_a_message_starts_it_when_it_is_sent_and_not_again_when_it_is_delivered(tmp_path: Path) -> None:
    said = {"agent": "a", "trigger": "event", "trigger_config": {"event_types": ["message", "custom"]}}
    async with feeds(tmp_path, config(said=said)) as made:
        sent = await made.emit(EventType.MESSAGE, data={"content": "hi"})
        made.middle.bus.publish(with_wire(Event("d1", EventType.MESSAGE, SOURCE, "s", 1.0, {}, durable=False)))
        after = await made.emit()
        await made.brings(2)

    assert [one.idempotency_key for one in made.brought] == [str(sent.cursor), str(after.cursor)]


async def test_an_ephemeral_message_of_a_client_starts_it_like_every_ephemeral_event(tmp_path: Path) -> None:
    said = {"agent": "a", "trigger": "event", "trigger_config": {"event_types": ["message"]}}
    async with feeds(tmp_path, config(said=said)) as made:
        await made.emit(EventType.MESSAGE, data={"content": "hi"})
        await made.brings(1)
        made.middle.bus.publish(with_wire(Event("f1", EventType.MESSAGE, "ann", "s", 1.0, {}, durable=False)))
        await made.brings(2)

    assert made.brought[1].idempotency_key == "event f1"


async def test_what_finds_no_room_is_tried_again_in_order(tmp_path: Path) -> None:
    """A full queue and a busy store hold up the feed; they lose nothing. Any other refusal costs one event."""
    async with feeds(tmp_path, config(watch=WATCH)) as made:
        made.refusals = [LimitExceeded("full", retry_after=0.01), StoreBusy("busy", retry_after=0.01)]
        for _ in range(3):
            await made.emit()
        told = await made.brings(3)

    assert [event["data"]["n"] for event in told] == [1, 2, 3]


async def test_an_event_that_is_refused_is_told_of_unless_it_is_an_error_itself(tmp_path: Path) -> None:
    """By an `error` event of the entry point's stream; the feed goes on."""
    watch = WATCH | {"trigger_config": {"event_types": ["custom", "error"]}}
    async with feeds(tmp_path, config(watch=watch)) as made:
        made.refusals = [InvalidArgument("too odd"), InvalidArgument("too odd")]
        await made.emit()
        await made.emit(EventType.ERROR, data={"reason": "R", "message": "m"})
        await made.emit()
        await made.brings(1)

    assert made.told.count((EventType.ERROR, "watch")) == 1


async def test_many_events_are_taken_in_together_and_stay_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where there is room for a few only; that it waits is told once, not for each event."""
    monkeypatch.setattr(lanes, "MAX_QUEUED_SHARE", 5)
    async with feeds(tmp_path, config(watch=WATCH | {"max_concurrent": 1})) as made:
        made.middle.runtime.lanes.configure(10, shares(made.middle.config))
        made.middle.agents["a"].may_end.clear()
        many = [
            Event(f"e{number}", EventType.CUSTOM, "test", "s", 1.0, {"n": number}, custom_type="note")
            for number in range(80)
        ]
        await made.middle.store.append([Published(event) for event in many], scope="")

        async def held() -> bool:
            return "entry_point_waits" in caplog.messages

        await eventually(held)
        assert len(made.brought) < 80
        made.middle.agents["a"].may_end.set()
        told = await made.brings(80)

    assert [event["data"]["n"] for event in told] == list(range(80))
    assert caplog.messages.count("entry_point_waits") < 10


async def test_an_agent_of_the_same_name_is_somebody_else(tmp_path: Path) -> None:
    """Events of chats with agent `a` start the entry point `a`; those of its own executions do not."""
    async with feeds(tmp_path, config(a=WATCH)) as made:
        await (await made.middle.send("hello")).live.done
        (told,) = await made.brings(1)

        async def answered() -> bool:
            return made.middle.runtime.counts().get("succeeded") == 2

        await eventually(answered)
        await made.brings(1)

    assert told["type"] == "execution_completed"


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


def test_an_event_is_the_same_input_now_and_after_a_restart() -> None:
    """Also where its maker holds what the encoding does not: half a character, a number that is no double."""
    data = {"path": "/hooks/github", "method": "POST", "payload": {"half \ud800": 2**60 + 1, "whole": 1.0}}
    live = with_wire(Event("e1", EventType.WEBHOOK_RECEIVED, "gatewayd", "github", 5.25, data)).stamped("epoch", 7)

    given = input_of(live)

    assert given == input_of(decode_event(event_bytes(live)))
    assert json.loads(given.encode())["event"]["data"]["payload"] == {"half \ufffd": 2**60, "whole": 1}


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


@pytest.mark.parametrize("scope", list(StateScope))
async def test_what_its_executions_write_into_the_shared_state_does_not_start_it(
    tmp_path: Path, scope: StateScope
) -> None:
    """What is shared is told on a stream of its own, and by whom; what others write there starts it."""
    async with feeds(tmp_path, config(watch=WATCH | {"trigger_config": {"event_types": ["state_changed"]}})) as made:
        middle = made.middle

        async def write(_turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
            await ctx.state.set("own", 1, scope=scope)
            yield TextOutput("written")

        middle.agents["a"].run = write  # type: ignore[method-assign]
        await made.dispatch(Trigger(entry_point="watch", text='{"event": {}}', origin=Origin.TRIGGER, principal="p"))
        await middle.runtime.idle()
        state = SharedState(
            store=middle.store, clock=middle.clock, ids=middle.ids, events=ExecutionEvents(middle.clock, middle.ids)
        )
        await state.write([Change(EVERYWHERE, "other", "2")], writer="somebody")

        _, told = await made.brings(2)

        assert told["data"]["key"] == "other"


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
