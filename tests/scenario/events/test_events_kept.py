"""The log of events over crashes, stops and its own bound: a reader goes on without a gap, or is told."""

import asyncio
from pathlib import Path

import pytest
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import EventsLost, HistoryLost, event_filter
from tests.rigs.house import eventually, house
from tests.rigs.notes import note, number_of, take


async def test_a_subscription_lives_through_a_crash_and_a_stop_without_a_gap(tmp_path: Path, config: str) -> None:
    """The epoch belongs to the log: the SDK goes on from its cursor over kill -9 and over a clean restart (P3.5)."""
    async with house(tmp_path, config) as rig:
        async with rig.client.subscribe(event_filter(topic="lasting")) as events:
            for number in range(10):
                await rig.client.publish(note(number, "lasting"))
            first = await take(events, 5)
            await rig.daemon.kill()
            await rig.daemon.start()
            for number in range(10, 20):
                await rig.client.publish(note(number, "lasting"))
            second = await take(events, 10)
            await rig.daemon.stop()
            await rig.daemon.start()
            await rig.client.publish(note(20, "lasting"))
            third = await take(events, 6)

    seen = [*first, *second, *third]
    assert [number_of(event) for event in seen] == list(range(21))
    assert len({event.epoch for event in seen}) == 1


async def test_F51_history_that_is_no_longer_kept_is_told_with_the_oldest_place(tmp_path: Path) -> None:
    """bus.history.max_events: the log is cut, at the start too; an old cursor gets HISTORY_LOST, not silence."""
    config = "agents: {echo: {model: offline/echo}}\nbus: {history: {max_events: 10}}\n"
    async with house(tmp_path, config) as rig:
        cursors = [await rig.client.publish(note(number, "cut")) for number in range(50)]
        await rig.daemon.stop()
        await rig.daemon.start()
        await rig.reconnect()
        await rig.event("custom", topic="cut", since=cursors[-2])
        while len(await rig.events()) > 15:
            await asyncio.sleep(0.02)

        async with rig.client.subscribe(event_filter(topic="cut"), since=cursors[5]) as events:
            with pytest.raises(EventsLost) as lost:
                await take(events, 1)
            await rig.client.publish(note(50, "cut"))
            rest = [number_of(event) for event in await take(events, 1)]

        assert isinstance(lost.value, HistoryLost)
        assert rest[0] > 6


async def test_a_smaller_bound_holds_at_once_and_a_log_that_overflows_is_cut(tmp_path: Path) -> None:
    """bus.history is live, and holds between two sweeps, too (P4.4)."""
    config = "agents: {echo: {model: offline/echo}}\nbus: {history: {max_events: %d}}\n"
    async with house(tmp_path, config % 100000) as rig:

        async def kept() -> int:
            stats = await rig.client.call(
                "EventService/GetEventStats", pb.GetEventStatsRequest(), pb.GetEventStatsResponse
            )
            return int(stats.kept)

        await rig.client.publish([note(number, "many") for number in range(500)])
        assert await kept() >= 500
        rig.daemon.write(config % 50)
        await rig.daemon.ctl("reload")

        async def is_cut() -> bool:
            return await kept() <= 52  # the reload is an event itself

        await eventually(is_cut)
        for start in range(0, 3000, 500):
            await rig.client.publish([note(number, "many") for number in range(start, start + 500)])
        await eventually(is_cut)
        newest = await rig.events("custom", size=10)

    assert [number_of(event) for event in newest] == list(range(2990, 3000))
