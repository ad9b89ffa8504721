"""Coming back: by the hundred, from odd places, with what was said before; each event once, or a word about it."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from gateway.v1 import event_service_pb2 as pb
from resume_herd import CONFIG as HERD
from resume_herd import herd
from stream_rig import PATIENCE, note, number_of

from gatewayctl.client import Client, Event, GatewayError, HistoryLost, PermissionDenied, event_filter
from tests.rigs.house import House, eventually, house
from tests.rigs.stream import RawStream, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKENS = {name: f"gw_{name}_{name[0] * 43}" for name in ("tenant", "other")}
CONFIG = HERD + "clients:\n" + "".join(
    f"""
  {name}:
    token_sha256: {hashlib.sha256(token.encode()).hexdigest()}
    scopes: ["events.publish:custom@{name}.>", "events.subscribe:custom@{name}.>", "sessions:own"]
"""
    for name, token in TOKENS.items()
)  # fmt: skip
KEPT = 1000
SHORT = f"""
agents: {{echo: {{model: offline/echo}}}}
bus: {{history: {{max_events: {KEPT}}}}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("resume"), CONFIG) as rig:
        yield rig


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forgetful(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("short"), SHORT) as rig:
        yield rig


def seq_of(cursor: str) -> int:
    return int(cursor.rpartition(":")[2])


async def take(client: Client, topic: str, since: str, count: int) -> list[int]:
    async with (
        client.subscribe(event_filter(["custom"], topic=topic), since=since) as events,
        asyncio.timeout(PATIENCE),
    ):
        return [number_of(await anext(events)) for _ in range(count)]


# F50


async def test_F50_a_herd_comes_back_from_places_of_its_own(rig: House) -> None:
    """Two hundred at once, each from another cursor: everything behind it, once and in order (`resume_herd.py`)."""
    await herd(rig, clients=200, events=300)


async def test_F50_a_herd_comes_back_to_a_daemon_that_was_killed(rig: House) -> None:
    """The same after a crash: places in the log outlive the daemon."""
    cursor = await rig.client.publish(note(0, "crash"))
    await rig.client.publish([note(number, "crash") for number in range(1, 50)])
    await rig.daemon.kill()
    await rig.daemon.start()
    await rig.reconnect()

    async def back(number: int) -> list[int]:
        async with rig.daemon.client(f"back-{number}", connect_timeout=PATIENCE) as client:
            return await take(client, "crash", cursor, 49)

    found = await asyncio.gather(*(back(number) for number in range(20)))
    assert found == [list(range(1, 50))] * 20


# F51


async def _by_stream(rig: House, since: str) -> str:
    """The reason with which a subscription from there is refused or ends; '' when it goes on."""
    async with RawStream(rig.daemon.address) as stream:
        await stream.hello("odd")
        ask = pb.Subscribe(subscription_id="s", filter=event_filter(topic="odd"), since=since)
        answer = await stream.answer(await stream.ask(pb.ConnectRequest(subscribe=ask)))
        if answer.HasField("rejected"):
            return reason_of(answer.rejected.error)
        await rig.client.publish(note(0, "odd"))
        frame = await stream.take("ended", "delivery", timeout=PATIENCE)
        return reason_of(frame.ended.error) if frame.HasField("ended") else ""


async def _refusal(rig: House, since: str, seconds: int) -> GatewayError | None:
    """Of a wait from there that lasts no longer than that."""
    request = pb.WaitForEventRequest(filter=event_filter(topic="odd"), since=since)
    request.timeout.FromSeconds(seconds)
    try:
        await rig.client.call("EventService/WaitForEvent", request, pb.WaitForEventResponse, timeout=PATIENCE)
    except GatewayError as error:
        return error
    return None


async def _by_call(rig: House, since: str) -> str:
    return refusal.reason if (refusal := await _refusal(rig, since, 1)) else ""


async def _by_look(rig: House, since: str) -> str:
    return refusal.reason if (refusal := await _refusal(rig, since, 0)) else ""


WAYS: list[Callable[[House, str], Awaitable[str]]] = [_by_stream, _by_call, _by_look]


@pytest.mark.parametrize("way", WAYS, ids=["stream", "wait", "look"])
async def test_F51_a_place_that_is_not_in_this_log_is_told(rig: House, way: Callable[..., Awaitable[str]]) -> None:
    """The future, another log, nonsense, the largest of numbers: HISTORY_LOST or INVALID_ARGUMENT, never silence."""
    epoch, _, seq = (await rig.client.publish(note(0, "odd"))).partition(":")
    told = {
        f"{epoch}:{int(seq) + 100_000}": "HISTORY_LOST",
        f"{epoch}:{10**18 - 1}": "HISTORY_LOST",
        f"01ARZ3NDEKTSV4RRFFQ69G5FAV:{seq}": "HISTORY_LOST",
        f"01ARZ3NDEKTSV4RRFFQ69G5FAV:{0}": "HISTORY_LOST",
        f"{epoch}:{10**18}": "INVALID_ARGUMENT",
        f"{epoch}:-1": "INVALID_ARGUMENT",
        f"{epoch}:१": "INVALID_ARGUMENT",
        ":1": "INVALID_ARGUMENT",
        f"{epoch}:0": "",
    }
    assert {since: await way(rig, since) for since in told} == told


async def test_F51_a_place_that_is_no_longer_kept_is_told_with_the_oldest(forgetful: House) -> None:
    """HISTORY_LOST, and from the oldest place that it names everything that is left comes without a gap."""
    old = await forgetful.client.publish(note(0, "old"))
    for start in range(1, 2001, 500):
        last = await forgetful.client.publish([note(start + each, "old") for each in range(500)])
    await forgetful.daemon.stop()
    await forgetful.daemon.start()  # it forgets at its start, a bite at a time
    await forgetful.reconnect()

    async def forgotten() -> bool:
        lost = await _refusal(forgetful, old, 0)
        return lost is not None and seq_of(lost.metadata["oldest_cursor"]) >= seq_of(last) - KEPT

    await eventually(forgotten)

    seen: list[int] = []
    losses: list[str] = []
    async with forgetful.client.subscribe(event_filter(topic="old"), since=old) as events, asyncio.timeout(PATIENCE):
        while not seen or seen[-1] < 2000:
            try:
                seen.append(number_of(await anext(events)))
            except HistoryLost as error:
                assert not seen, "lost behind the place that was named"
                losses.append(error.metadata["oldest_cursor"])
    assert losses
    assert seen == list(range(seen[0], 2001))
    assert seen[0] > 0
    assert await _by_call(forgetful, old) == "HISTORY_LOST"


async def test_F51_another_tenants_place_shows_nothing_of_theirs(rig: House) -> None:
    """A cursor is no right: what may not be subscribed to is refused, and from any place one's own comes alone."""
    async with (
        rig.daemon.client("t", token=TOKENS["tenant"]) as tenant,
        rig.daemon.client("o", token=TOKENS["other"]) as other,
    ):
        theirs = await tenant.publish(note(1, "tenant.a"))
        await tenant.publish(note(2, "tenant.a"))
        await other.publish(note(3, "other.a"))
        await tenant.publish(note(4, "tenant.a"))
        assert await take(other, "other.>", theirs, 1) == [3]
        for topic in ("tenant.a", ">", "*.a"):
            with pytest.raises(PermissionDenied):
                await take(other, topic, theirs, 1)


# F52

_numbers = itertools.count()


async def _on_stream(rig: House, event: Event) -> str:
    """The cursor, or the reason of the refusal."""
    async with RawStream(rig.daemon.address) as stream:
        await stream.hello(f"again-{next(_numbers)}")
        answer = await stream.answer(await stream.ask(pb.ConnectRequest(publish=pb.Publish(events=[event]))))
        return answer.accepted.cursor if answer.HasField("accepted") else reason_of(answer.rejected.error)


async def _on_call(rig: House, event: Event) -> str:
    request = pb.PublishRequest(events=[event])
    try:
        answer = await rig.client.call("EventService/Publish", request, pb.PublishResponse, timeout=PATIENCE)
    except GatewayError as error:
        return error.reason
    return answer.cursor


async def test_F52_an_id_means_one_event_whatever_way_it_comes(rig: House) -> None:
    """By stream, by call, at once, after a crash: the first place; with other content a conflict; others' ids apart."""
    event = note(1, "tenant.once", event_id="once")
    other = note(2, "tenant.once", event_id="once")
    for each in (event, other):
        each.stream_id = "s"
    first = await _on_stream(rig, event)
    again = await asyncio.gather(*(way(rig, event) for way in (_on_call, _on_stream) * 5))
    assert set(again) == {first}
    assert (await _on_stream(rig, other), await _on_call(rig, other)) == ("ID_CONFLICT", "ID_CONFLICT")

    await rig.daemon.kill()
    await rig.daemon.start()
    await rig.reconnect()
    assert (await _on_call(rig, event), await _on_stream(rig, event)) == (first, first)
    assert (await _on_stream(rig, other), await _on_call(rig, other)) == ("ID_CONFLICT", "ID_CONFLICT")
    async with rig.daemon.client("t", token=TOKENS["tenant"]) as tenant:
        assert await tenant.publish(other) > ""
    assert [number_of(each) for each in await rig.events(topic="tenant.once")] == [1, 2]


async def test_F52_one_batch_that_holds_an_id_twice(rig: House) -> None:
    """The same content counts once; with different content the whole batch is refused."""
    same = [note(1, "batch", event_id="twin"), note(1, "batch", event_id="twin"), note(2, "batch")]
    await rig.client.publish(same)
    different = [note(3, "batch"), note(4, "batch", event_id="odd"), note(5, "batch", event_id="odd")]
    with pytest.raises(GatewayError) as refused:
        await rig.client.publish(different)
    assert refused.value.reason == "ID_CONFLICT"
    assert [number_of(each) for each in await rig.events(topic="batch")] == [1, 2]


async def test_F52_a_race_for_one_id_has_one_winner(rig: House) -> None:
    """Many different events with one id at the same time: one is in the log, the others are told."""
    events = [note(number, "race", event_id="race") for number in range(20)]
    for each in events:
        each.stream_id = "s"
    answers = await asyncio.gather(*(_on_stream(rig, each) for each in events))
    assert answers.count("ID_CONFLICT") == 19
    (winner,) = await rig.events(topic="race")
    assert answers[number_of(winner)] == f"{winner.epoch}:{winner.seq}"
