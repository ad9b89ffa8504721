"""How connections end, and what a lost one leaves behind for the next."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import ConnectionReplaced, GatewayError, Unavailable, event_filter, new_event
from gatewayd.core.event import Cursor
from tests.rigs.house import House, house
from tests.rigs.links import BOUNDS, TRANSPORTS, Raw, only_ours, raw_over

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("links"), BOUNDS) as rig:
        yield rig


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def alone(rig: House) -> None:
    await only_ours(rig)


@pytest.fixture(params=TRANSPORTS)
def raw(request: pytest.FixtureRequest) -> Raw:
    """One more connection, over each transport in turn."""
    return raw_over(request.param)


async def test_a_pending_reply_arrives_on_the_next_connection(rig: House, raw: Raw) -> None:
    """A connection-resume token takes up the unanswered sends and the places of the subscriptions (P2.4, P3.2)."""
    async with raw(rig) as first:
        token = (await first.hello("comeback")).resume_token
        await first.subscribe("s", event_filter(topic="comeback"))
        send = pb.ConnectRequest(request_id="question", send=pb.Send(agent="slow", text="500ms the answer"))
        await first.accepted(await first.ask(send))
    cursor = await rig.client.publish(new_event("custom", {"n": 1}, custom_type="note", topic="comeback"))

    async with raw(rig) as second:
        welcome = await second.hello("comeback", token)
        frame = await second.take("reply")
        (lost,) = welcome.lost
        await second.subscribe("s", event_filter(topic="comeback"), since=lost.cursor)
        delivery = (await second.take("delivery")).delivery

    assert welcome.resumed
    assert (frame.request_id, frame.reply.content, frame.reply.final) == ("question", "the answer", True)
    assert (lost.subscription_id, lost.reason) == ("s", pb.END_REASON_CONNECTION_LOST)
    assert delivery.cursor == cursor


async def test_after_reconnect_timeout_nothing_waits_any_more(tmp_path: Path, raw: Raw) -> None:
    """gateway.reconnect_timeout bounds how long a lost client's things are kept."""
    async with house(tmp_path, BOUNDS.replace("reconnect_timeout: 30s", "reconnect_timeout: 1s")) as rig:
        async with raw(rig) as first:
            welcome = await first.hello("too-late")
            token, begin = welcome.resume_token, welcome.cursor
        await rig.event("disconnect", stream_id="too-late", since=begin)
        async with rig.client.subscribe(event_filter(["heartbeat"])) as beats:
            for _ in range(3):  # at least two intervals of a second
                await anext(beats)
        async with raw(rig) as second:
            welcome = await second.hello("too-late", token)

    assert not welcome.resumed


async def test_a_resume_token_is_bound_to_its_client(rig: House, raw: Raw) -> None:
    """Another client id, or another principal, takes up nothing."""
    async with raw(rig) as first:
        token = (await first.hello("owner")).resume_token
    async with raw(rig) as thief:
        assert not (await thief.hello("thief", token)).resumed


async def test_a_second_connection_takes_the_place_of_the_first(rig: House, raw: Raw) -> None:
    """One connection per client id: the newer one is there now, with what the older one waited for."""
    async with raw(rig) as first, raw(rig) as second:
        token = (await first.hello("moving")).resume_token
        send = pb.ConnectRequest(request_id="question", send=pb.Send(agent="slow", text="1s moved"))
        await first.accepted(await first.ask(send))

        welcome = await second.hello("moving", token)
        ended = await first.ended()
        frame = await second.take("reply")

    assert welcome.resumed
    assert ended is not None
    assert ended.reason == "CONNECTION_REPLACED"
    assert (frame.request_id, frame.reply.content) == ("question", "moved")


async def test_of_two_processes_with_one_client_id_the_older_is_told_and_stays_away(rig: House) -> None:
    """The SDK raises it from whatever is waited for, and does not displace the other in turn (P3.2)."""
    async with rig.daemon.client("twin") as first:
        events = first.subscribe(event_filter(topic="twin"))
        await events.started()
        async with rig.daemon.client("twin") as second:
            with pytest.raises(ConnectionReplaced, match="another process uses client id 'twin'"):
                async with asyncio.timeout(60):
                    await anext(events)
            with pytest.raises(ConnectionReplaced):
                await first.send("echo", "am I still there?")
            with pytest.raises(ConnectionReplaced):
                await first.publish(new_event("custom", {"n": 1}, custom_type="note", topic="twin"))
            assert (await second.send("echo", "the other is")).content == "the other is"
            assert not first.connected
            assert second.connected

    assert len(await rig.events("connect", stream_id="twin")) == 2


async def test_half_closing_ends_the_stream_in_order(rig: House, raw: Raw) -> None:
    """A client that has nothing more to say gets OK, and is not held for lost."""
    async with raw(rig) as stream:
        begin = (await stream.hello("done")).cursor
        await stream.half_close()

        assert await stream.ended() is None

    gone, _ = await rig.event("disconnect", stream_id="done", since=begin)
    assert gone.disconnect.reason == "closed"


async def test_connects_and_disconnects_are_events(rig: House, raw: Raw) -> None:
    """connect and disconnect tell of clients (P4.1)."""
    async with rig.client.subscribe(event_filter(["connect", "disconnect"], stream_id="visitor")) as events:
        async with raw(rig) as stream:
            await stream.hello("visitor")
        async with asyncio.timeout(60):
            connect, disconnect = await anext(events), await anext(events)

    assert (connect.connect.client_id, connect.connect.kind) == ("visitor", "client")
    assert disconnect.disconnect.reason == "connection_lost"


async def test_a_stop_says_goodbye_with_the_place_to_go_on_from(rig: House, raw: Raw) -> None:
    """Drain tells every client, with its resume cursor, and when to come back (P1.7)."""
    async with raw(rig) as stream:
        await stream.hello("parting")
        cursor = await rig.client.publish(new_event("custom", {"n": 1}, custom_type="note", topic="last"))
        await rig.daemon.stop()
        goodbye = (await stream.take("goodbye")).goodbye
        await stream.ended()

    with pytest.raises((Unavailable, GatewayError)):
        await rig.client.status()
    await rig.daemon.start()

    assert Cursor.parse(goodbye.cursor).seq >= Cursor.parse(cursor).seq
    assert goodbye.reconnect_after.ToTimedelta().total_seconds() > 0
    assert (await rig.client.send("echo", "again")).content == "again"
    *_, gone = await rig.events("disconnect", stream_id="parting")
    assert gone.disconnect.reason == "draining"


async def test_a_client_that_closes_is_told_as_closed(rig: House) -> None:
    """The SDK ends its stream in order; nothing is held for it (P4.1)."""
    begin = await rig.client.publish(new_event("custom", {"n": 1}, custom_type="note", topic="begin"))
    async with rig.daemon.client("tidy"):
        pass
    gone, _ = await rig.event("disconnect", stream_id="tidy", since=begin)

    assert gone.disconnect.reason == "closed"
