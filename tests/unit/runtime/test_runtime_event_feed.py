"""Entry points that wait for events: each event once, in order, and none of their own."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from feeds_rig import HOOK, WATCH, config, feeds

from gatewayd.agents.base import AgentContext, Output, TextOutput, Turn
from gatewayd.core.errors import InvalidArgument, LimitExceeded, StoreBusy
from gatewayd.core.event import Event, EventType
from gatewayd.core.state import EVERYWHERE, StateScope
from gatewayd.core.work import Origin, Trigger
from gatewayd.runtime import lanes
from gatewayd.runtime.emit import SOURCE, ExecutionEvents
from gatewayd.runtime.entry_points import shares
from gatewayd.runtime.event_feed import input_of
from gatewayd.runtime.state import GLOBAL_STREAM, Change, SharedState
from gatewayd.storage.records import Published
from gatewayd.wire import decode_event, event_bytes, with_wire
from tests.rigs.house import eventually


def notes(count: int) -> list[Event]:
    """Numbered from 0."""
    return [
        Event(f"e{number}", EventType.CUSTOM, "test", "s", 1.0, {"n": number}, custom_type="note")
        for number in range(count)
    ]


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
        await made.middle.store.append([Published(note) for note in notes(3)], scope="")  # read at once, tried together
        told = await made.brings(3)

    assert [event["data"]["n"] for event in told] == [0, 1, 2]


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
        await made.middle.store.append([Published(note) for note in notes(80)], scope="")

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


def test_an_event_is_the_same_input_now_and_after_a_restart() -> None:
    """Also where its maker holds what the encoding does not: half a character, a number that is no double."""
    data = {"path": "/hooks/github", "method": "POST", "payload": {"half \ud800": 2**60 + 1, "whole": 1.0}}
    live = with_wire(Event("e1", EventType.WEBHOOK_RECEIVED, "gatewayd", "github", 5.25, data)).stamped("epoch", 7)

    given = input_of(live)

    assert given == input_of(decode_event(event_bytes(live)))
    assert json.loads(given.encode())["event"]["data"]["payload"] == {"half \ufffd": 2**60, "whole": 1}


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


async def test_what_another_has_written_starts_it_though_that_execution_is_no_longer_kept(tmp_path: Path) -> None:
    """The results of executions may be dropped before there was room for what they have told."""
    async with feeds(tmp_path, config(watch=WATCH | {"trigger_config": {"event_types": ["state_changed"]}})) as made:
        data = {"key": "k", "new_value": 1, "scope": "global"}
        await made.emit(EventType.STATE_CHANGED, GLOBAL_STREAM, data=data, topic="k", execution_id="dropped")

        (told,) = await made.brings(1)

    assert told["data"]["key"] == "k"
