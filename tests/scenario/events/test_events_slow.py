"""Readers that do not keep up: who loses what, who is cut, and what arrives however small the buffer is."""

import pytest
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import event_filter, new_event
from tests.rigs.house import House
from tests.rigs.notes import note, number_of, take
from tests.rigs.stream import RawStream, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_slow_reader_that_asked_for_it_loses_the_oldest_and_is_told(rig: House) -> None:
    """drop_oldest: a gap frame with a count stands in their place, and the newest arrive (P3.6)."""
    async with RawStream(rig.daemon.address, options=(("grpc.http2.lookahead_bytes", 1024),)) as stream:
        await stream.hello("dropper")
        overflow = pb.OVERFLOW_DROP_OLDEST
        await stream.subscribe("s", event_filter(topic="flood"), overflow=overflow, buffer_bytes=8192)
        text = "x" * 2000
        for start in range(0, 6000, 100):
            flood = [
                new_event("custom", {"n": start + each, "text": text}, custom_type="note", topic="flood")
                for each in range(100)
            ]
            await rig.client.publish(flood)
        seen: list[int] = []
        dropped = 0
        while not seen or seen[-1] < 5999:
            frame = await stream.take("delivery", "gap")
            dropped += frame.gap.dropped
            seen += [number_of(event) for event in frame.delivery.events]

    assert dropped > 0
    assert len(seen) + dropped == 6000
    assert seen == sorted(seen)


async def test_F46_a_reader_that_does_not_read_is_cut_with_its_place(rig: House) -> None:
    """SLOW_CONSUMER with the cursor to go on from; nothing is lost, and other readers are not held up (P3.6)."""
    async with RawStream(rig.daemon.address) as stream:
        await stream.hello("sleeper")
        await stream.subscribe("s", event_filter(topic="heavy"), buffer_bytes=4096)
        async with rig.client.subscribe(event_filter(topic="heavy")) as events:
            text = "x" * 2000
            for start in range(0, 5000, 100):
                await rig.client.publish(
                    [
                        new_event("custom", {"n": start + each, "text": text}, custom_type="note", topic="heavy")
                        for each in range(100)
                    ]
                )
            assert [number_of(event) for event in await take(events, 5000)] == list(range(5000))
        seen: list[int] = []
        while True:
            frame = await stream.take("delivery", "ended")
            seen += [number_of(event) for event in frame.delivery.events]
            if frame.HasField("ended"):
                break
        assert frame.ended.reason == pb.END_REASON_SLOW_CONSUMER
        assert reason_of(frame.ended.error) == "SLOW_CONSUMER"
        assert frame.ended.error.metadata["cursor"] == frame.ended.cursor

        await stream.subscribe("s", event_filter(topic="heavy"), since=frame.ended.cursor, buffer_bytes=4096)
        while len(seen) < 5000:
            seen += [number_of(event) for event in (await stream.take("delivery")).delivery.events]

    assert seen == list(range(5000))


async def test_an_event_larger_than_the_readers_buffer_still_arrives(rig: House) -> None:
    """The bound is on what waits; a single event always fits, live and from the log."""
    text = "x" * 40_000
    async with RawStream(rig.daemon.address) as stream:
        await stream.hello("small")
        await stream.subscribe("live", event_filter(topic="huge"), buffer_bytes=4096)
        cursor = await rig.client.publish(note(0, "huge"))
        for number in (1, 2):
            event = new_event("custom", {"n": number, "text": text}, custom_type="note", topic="huge")
            await rig.client.publish(event)
            while not (frame := await stream.take("delivery", "ended")).delivery.events or (
                number_of(frame.delivery.events[-1]) != number
            ):
                assert not frame.HasField("ended"), frame
        await stream.subscribe("late", event_filter(topic="huge"), buffer_bytes=4096, since=cursor)
        seen: list[int] = []
        while len(seen) < 2:
            frame = await stream.take("delivery", "ended")
            assert not frame.HasField("ended"), frame
            seen += [number_of(event) for event in frame.delivery.events]

    assert seen == [1, 2]
