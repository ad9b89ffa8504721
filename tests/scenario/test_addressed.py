"""What is addressed to a client: targets, broadcasts and heartbeats, with and without a subscription, here and away."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from itertools import pairwise

import pytest
import pytest_asyncio
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import Client, Event, EventsLost, NotFound, event_filter, new_event
from tests.rigs.house import House, eventually, house
from tests.rigs.stream import RawStream

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKENS = {name: f"gw_{name}_{'0' * 43}" for name in ("ann", "deaf")}
DIGESTS = {name: sha256(token.encode()).hexdigest() for name, token in TOKENS.items()}
CONFIG = f"""
gateway: {{heartbeat_interval: 1s, reconnect_timeout: 30s, limits: {{queue_bytes: 128KiB}}}}
agents: {{echo: {{model: offline/echo}}, other: {{model: offline/echo}}}}
clients:
  ann:
    token_sha256: {DIGESTS["ann"]}
    scopes: ["events.subscribe:*@*", "events.publish:*@*", "agents.send:echo"]
  deaf: {{token_sha256: {DIGESTS["deaf"]}, scopes: ["agents.send:*"]}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("addressed"), CONFIG) as rig:
        yield rig


def note(number: int, topic: str = "", *, ephemeral: bool = False, text: str = "", **more: str) -> Event:
    data = {"n": number, "text": text}
    return new_event("custom", data, custom_type="note", topic=topic, ephemeral=ephemeral, **more)


def numbers(events: list[Event]) -> list[int]:
    return [int(event.custom.json["n"]) for event in events]


async def take(events: AsyncIterator[Event], count: int) -> list[Event]:
    async with asyncio.timeout(60):
        return [await anext(events) for _ in range(count)]


async def raw_take(stream: RawStream, kind: str, count: int) -> list[Event]:
    """So many events of deliveries of that kind, heartbeats left out."""
    events: list[Event] = []
    while len(events) < count:
        frame = await stream.take(kind, timeout=60)
        events += [event for event in frame.delivery.events if not event.HasField("heartbeat")]
    return events


async def away(rig: House, client_id: str) -> None:
    """The daemon has noticed that the client is gone."""

    async def noticed() -> bool:
        return bool(await rig.events("disconnect", stream_id=client_id))

    await eventually(noticed)


def as_ann(rig: House, client_id: str) -> Client:
    return rig.daemon.client(client_id, token=TOKENS["ann"])


# Targets


async def test_without_a_subscription_it_comes_to_the_connection_itself(rig: House) -> None:
    """An event with a target reaches that client, and the answer says how many that were (P4.1)."""
    async with rig.daemon.client("plain") as plain, rig.daemon.client("beside") as beside:
        count = await rig.client.announce([note(1, target="plain"), note(2, target="plain", ephemeral=True)])
        await rig.client.announce(note(3, target="beside"))

        assert numbers(await take(plain.addressed(), 2)) == [1, 2]
        assert numbers(await take(beside.addressed(), 1)) == [3]
    assert count == 2


async def test_a_subscription_that_selects_it_brings_it_instead(rig: House) -> None:
    """Each event once: by the subscriptions that match, else to the connection (P4.1)."""
    async with RawStream(rig.daemon.address) as stream:
        await stream.hello("both")
        await stream.subscribe("s", event_filter(topic="mine"))
        await rig.client.announce([note(1, "mine", target="both"), note(2, "other", target="both")])
        await rig.client.announce([note(3, "mine", target="both"), note(4, target="both")])
        subscribed = await raw_take(stream, "delivery", 2)
        addressed = await raw_take(stream, "addressed", 2)
        pong = await stream.ask(pb.ConnectRequest(ping=pb.Ping()))
        assert (await stream.take("pong")).request_id == pong

    assert (numbers(subscribed), numbers(addressed)) == ([1, 3], [2, 4])


async def test_nobody_of_that_name_refuses_the_batch(rig: House) -> None:
    """NOT_FOUND names the event; nothing of its batch is published (P4.1)."""
    with pytest.raises(NotFound) as refused:
        await rig.client.publish([note(1, "void"), note(2, "void", target="nobody")])

    assert [field for field, _ in refused.value.violations] == ["events[1].target"]
    assert await rig.events(topic="void") == []


async def test_an_agent_of_the_configuration_is_somebody(rig: House) -> None:
    """Only one that the publisher may send to: to others it does not exist (P13.2)."""
    assert await rig.client.announce(note(1, "agents", target="other")) == 0
    async with as_ann(rig, "a") as ann:
        assert await ann.announce(note(2, "agents", target="echo")) == 0
        with pytest.raises(NotFound):
            await ann.announce(note(3, "agents", target="other"))
        async with as_ann(rig, "echo") as same_name:  # a client's own come before agents
            assert await ann.announce(note(4, "agents", target="echo")) == 1
            assert numbers(await take(same_name.addressed(), 1)) == [4]


async def test_two_principals_do_not_meet(rig: House) -> None:
    """Another's clients do not exist for who may not see all sessions; a name that both have is one's own (P13.2)."""
    async with as_ann(rig, "twin") as hers, rig.daemon.client("twin") as ours, rig.daemon.client("hidden"):
        with pytest.raises(NotFound):
            await hers.announce(note(0, target="hidden"))
        assert await hers.announce(note(1, target="twin")) == 1
        assert await ours.announce(note(2, target="twin")) == 1
        assert await rig.client.announce(note(3, target="ann")) == 1

        assert numbers(await take(hers.addressed(), 2)) == [1, 3]
        assert numbers(await take(ours.addressed(), 1)) == [2]


# Away


async def test_what_comes_while_it_is_away_waits_for_it(rig: House) -> None:
    """For reconnect_timeout, durable or not; it is delivered when the client resumes (P2.4, P4.1)."""
    async with RawStream(rig.daemon.address) as first:
        token = (await first.hello("sleeper")).resume_token
    await away(rig, "sleeper")
    assert await rig.client.announce([note(1, target="sleeper"), note(2, target="sleeper", ephemeral=True)]) == 2

    async with RawStream(rig.daemon.address) as second:
        assert (await second.hello("sleeper", token)).resumed
        await rig.client.announce(note(3, target="sleeper"))
        assert numbers(await raw_take(second, "addressed", 3)) == [1, 2, 3]


async def test_what_its_own_cursor_brings_does_not_come_twice(rig: House) -> None:
    """A durable event is left to the lost subscription that selects it; an ephemeral one is kept (P4.1)."""
    async with RawStream(rig.daemon.address) as first:
        token = (await first.hello("careful")).resume_token
        await first.subscribe("s", event_filter(topic="care"))
    await away(rig, "careful")
    await rig.client.announce([note(1, "care", target="careful"), note(2, "care", target="careful", ephemeral=True)])
    await rig.client.announce(note(3, "else", target="careful"))

    async with RawStream(rig.daemon.address) as second:
        welcome = await second.hello("careful", token)
        await rig.client.announce(note(4, "care", target="careful"))  # before it has subscribed anew
        await second.subscribe("s", event_filter(topic="care"), since=welcome.lost[0].cursor)
        await rig.client.announce([note(5, "care", target="careful"), note(6, "else", target="careful")])
        subscribed = await raw_take(second, "delivery", 3)
        addressed = await raw_take(second, "addressed", 3)

    assert numbers(subscribed) == [1, 4, 5]
    assert numbers(addressed) == [2, 3, 6]


async def test_one_that_begins_anew_gets_all_of_it(rig: House) -> None:
    """A process that crashed has no cursors: what was addressed to it meanwhile is not lost."""
    async with RawStream(rig.daemon.address) as first:
        await first.hello("restarted")
        await first.subscribe("s", event_filter(topic="work"))
    await away(rig, "restarted")
    await rig.client.announce([note(1, "work", target="restarted"), note(2, target="restarted")])

    async with RawStream(rig.daemon.address) as second:
        assert not (await second.hello("restarted")).resumed
        assert numbers(await raw_take(second, "addressed", 2)) == [1, 2]


async def test_what_waits_is_bounded_and_the_loss_is_told(rig: House) -> None:
    """The oldest go first; a gap stands in their place (P3.6)."""
    async with RawStream(rig.daemon.address) as first:
        token = (await first.hello("full")).resume_token
    await away(rig, "full")
    for number in range(12):
        await rig.client.announce(note(number, target="full", text="x" * 50_000))

    async with RawStream(rig.daemon.address) as second:
        await second.hello("full", token)
        gap = (await second.take("gap")).gap
        kept = await raw_take(second, "addressed", 12 - gap.dropped)

    assert gap.subscription_id == ""
    assert gap.dropped > 0
    assert numbers(kept) == list(range(gap.dropped, 12))


async def test_one_that_closed_is_not_expected_back(rig: House) -> None:
    """It ended its stream in order: from then on nobody is known by its name."""
    async with rig.daemon.client("parting"):
        pass
    await away(rig, "parting")
    with pytest.raises(NotFound):
        await rig.client.announce(note(1, target="parting"))


async def test_the_sdk_tells_what_was_dropped_for_it(rig: House) -> None:
    """While nobody iterates the newest are kept; the loss is raised in its place, and nothing else is missing."""
    async with rig.daemon.client("slack") as slack:
        for number in range(41):
            await rig.client.announce(note(number, target="slack", text="x" * 50_000))
        lost, seen = 0, [-1]
        while seen[-1] != 40:
            try:
                seen += numbers(await take(slack.addressed(), 1))
            except EventsLost as error:
                lost += error.gap.dropped  # type: ignore[attr-defined]

    assert seen == sorted(set(seen))
    assert lost > 0
    assert lost + len(seen[1:]) == 41


# Broadcasts and heartbeats


async def test_a_broadcast_reaches_every_client_once_and_is_counted(rig: House) -> None:
    """With or without a subscription, if its principal may see it; the answer has the count (P4.1)."""
    async with (
        rig.daemon.client("listener") as listener,
        rig.daemon.client("subscriber") as subscriber,
        as_ann(rig, "hers") as hers,
        rig.daemon.client("unheard", token=TOKENS["deaf"]) as deaf,
        subscriber.subscribe(event_filter(["broadcast"])) as events,
    ):
        count = await rig.client.broadcast("tea is ready")
        again = await rig.client.broadcast("tea is cold")
        for reader in (listener.addressed(), hers.addressed(), rig.client.addressed(), events):
            assert [event.broadcast.content for event in await take(reader, 2)] == ["tea is ready", "tea is cold"]
        await rig.client.announce([note(1, target="subscriber"), note(1, target="unheard")])

        assert numbers(await take(subscriber.addressed(), 1)) == [1]
        assert numbers(await take(deaf.addressed(), 1)) == [1]
    assert count == again == 4


async def test_a_client_without_a_subscription_hears_heartbeats(rig: House) -> None:
    """The proto promises a frame in every interval, whatever a client has subscribed to (P2.4, P4.1)."""
    async with RawStream(rig.daemon.address) as stream:
        await stream.hello("quiet")
        beats = [(await stream.take("addressed", timeout=60)).delivery.events[0] for _ in range(3)]

    assert [event.heartbeat.interval for event in beats] == [1.0] * 3
    assert {(event.target, event.stream_id) for event in beats} == {("quiet", "quiet")}
    assert all(0.5 < later.time - earlier.time < 10 for earlier, later in pairwise(beats))


async def test_heartbeats_of_a_namesake_are_not_seen(rig: House) -> None:
    """Two principals may use one client id: each gets its own."""
    async with RawStream(rig.daemon.address, token=TOKENS["ann"]) as hers, RawStream(rig.daemon.address) as ours:
        for stream in (hers, ours):
            await stream.hello("same")
            await stream.subscribe("s", event_filter(["heartbeat"]))
        beats = [event for _ in range(4) for event in (await hers.take("delivery", timeout=60)).delivery.events]

    assert all(later.time - earlier.time > 0.5 for earlier, later in pairwise(beats))
