"""Readers that are slow or do not read, and writers that are too fast: each pays for itself, and nobody else."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
import pytest_asyncio
from gateway.v1 import error_pb2
from gateway.v1 import event_service_pb2 as pb
from stream_rig import (
    MIB,
    PATIENCE,
    HandStream,
    clients,
    hello,
    note,
    number_of,
    only,
    resident,
    subscribe,
    wire,
    witness,
)

from gatewayctl.client import LimitExceeded, event_filter
from tests.rigs.house import House, eventually, house
from tests.rigs.stream import RawStream, kind_of, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
gateway: {limits: {publish_rate: 2000, streams_per_client: 101}}
agents: {echo: {model: offline/echo}}
bus: {history: {max_events: 200000}}
"""
RATE = 2_000
"""Events that the configuration lets one client publish per second, and at once."""
DEAF = 3_000
"""Events for those that do not read: more than may wait for one of them."""
NARROW = (("grpc.http2.lookahead_bytes", 1024),)
"""A reader with little room of its own."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("flow"), CONFIG) as rig:
        yield rig


async def publish(rig: House, topic: str, numbers: range, size: int = 2000) -> None:
    """Numbered events, in batches, by a client of its own."""
    async with rig.daemon.client(f"publisher of {topic} {numbers.start}") as client:
        for at in numbers[::100]:
            await client.publish([note(at + each, topic, text="x" * size) for each in range(100)])


async def read(stream: RawStream, last: int) -> tuple[list[int], int, str]:
    """Numbers up to `last` or the end of the subscription, events told as dropped, the cursor behind them."""
    seen: list[int] = []
    dropped, cursor = 0, ""
    while not seen or seen[-1] < last:
        frame = await stream.take("delivery", "gap", "ended", timeout=PATIENCE)
        dropped += frame.gap.dropped
        seen += [number_of(event) for event in frame.delivery.events]
        cursor = frame.delivery.cursor or frame.gap.cursor or frame.ended.cursor or cursor
        if frame.HasField("ended"):
            assert frame.ended.reason == pb.END_REASON_SLOW_CONSUMER
            assert reason_of(frame.ended.error) == "SLOW_CONSUMER"
            break
    return seen, dropped, cursor


# F45


async def test_F45_slow_subscribers_pay_alone(rig: House) -> None:
    """Both policies act for the two slow readers only; the publisher and the others are served to the last event."""
    async with (
        RawStream(rig.daemon.address, options=NARROW) as patient,
        RawStream(rig.daemon.address, options=NARROW) as lossy,
        rig.daemon.client("quick-1") as one,
        rig.daemon.client("quick-2") as two,
        witness(rig),
    ):
        await patient.hello("patient")
        await patient.subscribe("s", event_filter(topic="rush"), buffer_bytes=64 * 1024)
        await lossy.hello("lossy")
        overflow = pb.OVERFLOW_DROP_OLDEST
        await lossy.subscribe("s", event_filter(topic="rush"), buffer_bytes=64 * 1024, overflow=overflow)
        async with (
            one.subscribe(event_filter(topic="rush")) as first,
            two.subscribe(event_filter(topic="rush")) as then,
        ):

            async def all_of(events: object) -> list[int]:
                return [number_of(await anext(events)) for _ in range(RATE)]  # type: ignore[call-overload]

            async with asyncio.timeout(PATIENCE):
                # Acknowledged to the end while the two have not read anything.
                seen = await asyncio.gather(all_of(first), all_of(then), publish(rig, "rush", range(RATE), 4000))
        assert seen[0] == seen[1] == list(range(RATE))

        got, dropped, cursor = await read(patient, RATE - 1)
        assert dropped == 0
        assert len(got) < RATE, "it was not slow enough to be cut"
        await patient.subscribe("again", event_filter(topic="rush"), since=cursor)
        rest, _, _ = await read(patient, RATE - 1)
        assert got + rest == list(range(RATE))

        got, dropped, _ = await read(lossy, RATE - 1)
        assert dropped > 0
        assert len(got) + dropped == RATE
        assert got == sorted(set(got))


# F46


async def test_F46_a_hundred_that_never_read_are_cut_and_lose_nothing(rig: House) -> None:
    """Each is cut, holds little while it lasts and afterwards, and finds everything behind its cursor.

    As long as its client stays without reading, the call still counts: nobody can pile up such calls.
    """
    async with contextlib.AsyncExitStack() as open_ones, witness(rig):
        before = resident(rig)
        sleepers: list[HandStream] = []
        for number in range(100):
            sleeper = HandStream(await open_ones.enter_async_context(wire(rig)))
            await sleeper.open(rig.daemon.token, hello(f"sleeper-{number}"), subscribe("deaf", buffer_bytes=100 * MIB))
            sleepers.append(sleeper)
        for sleeper in sleepers:
            await sleeper.until("accepted")
        await publish(rig, "deaf", range(1800))
        held = [each.queued_bytes for name, each in (await clients(rig)).items() if name.startswith("sleeper")]
        assert len(held) == 100
        assert min(held) > 2 * MIB
        await publish(rig, "deaf", range(1800, DEAF))
        assert all(each.queued_bytes <= 4 * MIB for each in (await clients(rig)).values())

        async def cut() -> bool:
            return set(await clients(rig)) == {"test", "witness"}

        # Ten seconds behind the first blocked write, and room for a busy machine.
        await eventually(cut, timeout=30)
        assert resident(rig) - before < 100 * 4 * MIB
        await _come_back(rig, sleepers[0])


async def _come_back(rig: House, sleeper: HandStream) -> None:
    """Its next welcome tells why it ended; from the last place that has arrived everything comes."""
    (welcome,) = (each.welcome for each in sleeper.answers if each.HasField("welcome"))
    (accepted,) = (each.accepted for each in sleeper.answers if each.HasField("accepted"))
    arrived = [each.delivery for each in sleeper.answers if kind_of(each) == "delivery"]
    seen = [number_of(event) for each in arrived for event in each.events]
    since = arrived[-1].cursor if arrived else accepted.cursor
    async with RawStream(rig.daemon.address, token=rig.daemon.token) as stream:
        # Over the socket a token counts as over TCP: it is the same principal.
        again = await stream.hello("sleeper-0", welcome.resume_token)
        assert again.resumed
        ((name, reason),) = [(each.subscription_id, each.reason) for each in again.lost]
        assert (name, reason) == ("s", pb.END_REASON_SLOW_CONSUMER)
        assert again.lost[0].cursor
        await stream.subscribe("s", event_filter(topic="deaf"), since=since)
        async with RawStream(rig.daemon.address, token=rig.daemon.token) as one_more:
            error = await one_more.ended(timeout=PATIENCE)
        rest, _, _ = await read(stream, DEAF - 1)
    assert seen + rest == list(range(DEAF))
    assert isinstance(error, LimitExceeded), error
    assert error.metadata["limit"] == "streams_per_client"


# F53


Refusals = list[error_pb2.Error]


async def _insist(stream: RawStream, topic: str, count: int, batch: int, refused: Refusals, size: int = 0) -> None:
    """Publish batches as fast as the stream takes them, and those that are shed again after the delay."""
    left = {f"{topic}-{at}": at for at in range(0, count, batch)}

    frames: dict[str, bytes] = {}
    for name, at in left.items():
        events = [note(at + each, topic, text="x" * size, event_id=f"{topic}-{at + each}") for each in range(batch)]
        frames[name] = pb.ConnectRequest(request_id=name, publish=pb.Publish(events=events)).SerializeToString()

    async def ask(names: Iterable[str]) -> None:
        for name in names:
            await stream.write(frames[name])

    while left:
        asking = asyncio.create_task(ask(list(left)))
        shed: dict[str, int] = {}
        delay = 0.0
        for _ in range(len(left)):
            frame = await stream.take("accepted", "rejected", timeout=PATIENCE)
            if frame.HasField("rejected"):
                refused.append(frame.rejected.error)
                shed[frame.request_id] = left[frame.request_id]
                delay = max(delay, frame.rejected.error.retry_after.ToTimedelta().total_seconds())
        await asking
        left = shed
        await asyncio.sleep(delay)


async def kept(rig: House, since: str, topic: str, count: int) -> list[int]:
    """The numbers of so many events behind a place of the log."""
    async with (
        rig.daemon.client("reader") as client,
        client.subscribe(event_filter(topic=topic), since=since) as events,
    ):
        async with asyncio.timeout(PATIENCE):
            return [number_of(await anext(events)) for _ in range(count)]


async def test_F53_a_flood_is_shed_and_everything_admitted_is_kept(tmp_path: Path) -> None:
    """Three clients far above their rate: refused with a delay, served after it, each event once; others are served."""
    rate = RATE // 4  # one that a client on a busy machine is far above, too
    async with house(tmp_path, CONFIG.replace(f"publish_rate: {RATE}", f"publish_rate: {rate}")) as rig:
        count = 6 * rate
        begin = await rig.client.publish(note(0, "before"))
        async with contextlib.AsyncExitStack() as open_ones, witness(rig):
            streams = [await open_ones.enter_async_context(RawStream(rig.daemon.address)) for _ in range(3)]
            for number, stream in enumerate(streams):
                await stream.hello(f"flood-{number}")
            async with asyncio.timeout(PATIENCE * 2):
                shed: list[Refusals] = [[], [], []]
                await asyncio.gather(
                    *(
                        _insist(each, f"flood-{number}", count, rate // 2, shed[number])
                        for number, each in enumerate(streams)
                    )
                )
        for number, refusals in enumerate(shed):
            assert refusals
            for error in refusals:
                assert reason_of(error) == "LIMIT_EXCEEDED"
                assert error.metadata["limit"] == "limits.publish_rate"
                assert 0 < error.retry_after.ToTimedelta().total_seconds() <= 1
            assert sorted(await kept(rig, begin, f"flood-{number}", count)) == list(range(count))


async def test_F53_unary_publishers_have_the_same_rate(rig: House) -> None:
    """The next call above the rate is refused with a delay, whichever connection it comes by."""
    request = pb.PublishRequest(events=[note(each, "unary", ephemeral=True) for each in range(1000)])
    calls = [rig.client.call("EventService/Publish", request, pb.PublishResponse, timeout=PATIENCE) for _ in range(40)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, LimitExceeded)]
    assert {each.metadata["limit"] for each in refused} == {"limits.publish_rate"}
    assert all(each.retry_after for each in refused)
    assert len(answers) - len(refused) >= 2
    assert {type(each) for each in answers} == {pb.PublishResponse, LimitExceeded}


async def test_F53_a_store_that_cannot_follow_sheds_and_forgets_nothing(rig: House) -> None:
    """While the disk is held up the queue fills to its bound: STORE_BUSY with a delay; what was taken is kept."""
    begin = await rig.client.publish(note(0, "before"))
    size, before = 50_000, resident(rig)
    other = sqlite3.connect(rig.daemon.state / "gatewayd.db", isolation_level=None, timeout=PATIENCE)
    other.execute("BEGIN IMMEDIATE")
    try:
        async with RawStream(rig.daemon.address) as one, RawStream(rig.daemon.address) as two:
            await one.hello("jam-0")
            await two.hello("jam-1")
            shed: Refusals = []
            streams = enumerate((one, two))
            jams = asyncio.gather(*(_insist(each, f"jam-{number}", 800, 4, shed, size) for number, each in streams))

            async def full() -> bool:
                return any("wait to be written" in error.message for error in shed)

            await eventually(full, timeout=PATIENCE)
            assert (await rig.client.status()).version  # who needs no disk is served
            other.execute("ROLLBACK")
            async with asyncio.timeout(PATIENCE * 2):
                await jams
    finally:
        other.close()
    assert {reason_of(error) for error in shed} == {"STORE_BUSY"}
    assert all(error.retry_after.ToTimedelta().total_seconds() > 0 for error in shed)
    assert resident(rig) - before < 256 * MIB
    for number in range(2):
        assert sorted(await kept(rig, begin, f"jam-{number}", 800)) == list(range(800))
    await only(rig)
