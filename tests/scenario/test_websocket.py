"""The WebSocket door: what it shares with gRPC is told in test_connections; here is what only a WebSocket has."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import event_filter, new_event
from tests.rigs.house import House, house
from tests.rigs.process import Daemon
from tests.rigs.sockets import CONFIG, PAGE, refused, socket
from tests.rigs.stream import reason_of
from tests.rigs.websocket import JSON, PROTO, RawSocket, bearer, http_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("sockets"), CONFIG) as rig:
        yield rig


async def test_a_browser_says_it_all_in_json(rig: House) -> None:
    """Canonical protobuf-JSON, written by hand: hello, subscribe, publish, delivery; the token is a subprotocol."""
    async with socket(rig, as_browser=True) as page:
        assert page.socket.protocol == JSON

        async def say(**frame: Any) -> None:
            await page.socket.send_str(json.dumps(frame))

        async def hear(kind: str) -> dict[str, Any]:
            while kind not in (frame := await page.socket.receive_json(timeout=60)):
                pass
            return frame

        await say(hello={"clientId": "page", "protocolMin": 1, "protocolMax": 1})
        welcome = (await hear("welcome"))["welcome"]
        await say(requestId="r1", subscribe={"subscriptionId": "s", "filter": {"allTypes": True, "topic": "room.>"}})
        await hear("accepted")
        event = {"type": "EVENT_TYPE_CUSTOM", "customType": "note", "topic": "room.one", "custom": {"json": {"n": 1}}}
        await say(requestId="r2", publish={"events": [event]})
        delivery = (await hear("delivery"))["delivery"]
        await say(request_id="r3", ping={})  # the names of the .proto files are read, too
        pong = await hear("pong")

    assert welcome["policy"]["heartbeatInterval"] == "30s"
    assert welcome["policy"]["maxMessageBytes"] == str(256 * 1024)
    assert delivery["subscriptionIds"] == ["s"]
    (got,) = delivery["events"]
    assert got["custom"] == {"json": {"n": 1}}
    assert (got["source"], got["streamId"]) == ("default", "page")
    assert pong["requestId"] == "r3"


@pytest.mark.parametrize("form", [JSON, PROTO])
async def test_an_agent_answers_in_pieces(rig: House, form: str) -> None:
    """A send with partial replies: what came in pieces is the whole answer."""
    async with socket(rig, form=form) as page:
        await page.hello("asking")
        send = pb.Send(agent="slow", text="200ms one two three ünd vier", partial_replies=True)
        await page.accepted(await page.ask(pb.ConnectRequest(send=send)))
        replies = []
        while not (replies and replies[-1].final):
            replies.append((await page.take("reply", timeout=60)).reply)

    assert replies[-1].content == "one two three ünd vier"
    assert len(replies) > 2
    assert "".join(each.content for each in replies[:-1]) == replies[-1].content


async def test_a_cut_connection_is_taken_up_without_a_gap(rig: House) -> None:
    """Pending reply and the place of the subscription, from one transport to the same again."""
    async with socket(rig) as first:
        token = (await first.hello("cut")).resume_token
        await first.subscribe("s", event_filter(topic="cut"))
        send = pb.ConnectRequest(request_id="q", send=pb.Send(agent="slow", text="700ms late"))
        await first.accepted(await first.ask(send))
        await first.cut()
        missed = await rig.client.publish(new_event("custom", {"n": 1}, custom_type="note", topic="cut"))
        async with socket(rig) as second:
            welcome = await second.hello("cut", token)
            (lost,) = welcome.lost
            await second.subscribe("s", event_filter(topic="cut"), since=lost.cursor)
            delivery = (await second.take("delivery")).delivery
            reply = await second.take("reply", timeout=60)

    assert welcome.resumed
    assert lost.reason == pb.END_REASON_CONNECTION_LOST
    assert delivery.cursor == missed
    assert (reply.request_id, reply.reply.content) == ("q", "late")


async def test_without_subprotocols_it_is_json(rig: House) -> None:
    """A client that offers nothing; one that offers only what nobody speaks is told what to offer."""
    url = f"http://127.0.0.1:{http_port(rig.daemon)}/v1/connect"
    headers = {"Authorization": f"Bearer {rig.daemon.token}"}
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url, headers=headers) as plain:
            await plain.send_str('{"hello": {"clientId": "plain"}}')
            assert "welcome" in await plain.receive_json(timeout=60)
            assert plain.protocol is None
        for offer in (["graphql-ws"], [bearer(rig.daemon.token)]):
            given = headers if offer == ["graphql-ws"] else {}
            with pytest.raises(aiohttp.WSServerHandshakeError) as error:
                await session.ws_connect(url, headers=given, protocols=offer)
            assert error.value.status == 400
        async with session.get(url, headers=headers) as answer:
            assert answer.status == 426
            assert (await answer.json())["error"]["reason"] == "INVALID_ARGUMENT"


async def test_F24_a_drain_says_goodbye_and_closes_for_a_restart(tmp_path: Path) -> None:
    """goodbye with a cursor, what is waited for still comes, then 1012; who comes meanwhile is sent away with 503."""
    async with house(tmp_path, CONFIG) as rig:
        async with socket(rig) as page, socket(rig) as idle:
            await page.hello("waiting")
            await idle.hello("idle")
            await page.accepted(await page.ask(pb.ConnectRequest(send=pb.Send(agent="slow", text="2s last"))))
            stopping = asyncio.create_task(rig.daemon.stop())
            goodbye = (await idle.take("goodbye", timeout=60)).goodbye
            assert await idle.closed() == (1012, "DRAINING")
            status, headers = await refused(http_port(rig.daemon), token=rig.daemon.token)
            reply = (await page.take("reply", timeout=60)).reply
            assert await page.closed() == (1012, "DRAINING")
            assert await stopping == 0

    assert goodbye.cursor
    assert (status, headers["Retry-After"]) == (503, "2")
    assert reply.content == "last"


async def test_a_revoked_token_ends_its_sockets(tmp_path: Path) -> None:
    """F61: UNAUTHENTICATED as the last frame, and 1008."""
    async with house(tmp_path, CONFIG) as rig, socket(rig) as page:
        await page.hello("doomed")
        code, out, err = await rig.daemon.ctl("token", "revoke", "default")
        error = (await page.take("rejected", timeout=60)).rejected.error

        assert code == 0, (out, err)
        assert reason_of(error) == "UNAUTHENTICATED"
        assert await page.closed() == (1008, "UNAUTHENTICATED")


async def test_bounds_of_connections_hold_here_too(tmp_path: Path) -> None:
    """max_connections: refused with a delay and 1013; streams_per_client: 429 before the upgrade."""
    config = CONFIG.replace("max_connections: 300", "max_connections: 3").replace("client: 250", "client: 3")
    async with house(tmp_path, config) as rig:
        async with socket(rig) as one, socket(rig) as two:
            await one.hello("one")
            await two.hello("two")
            async with socket(rig) as three:
                error = (await three.take("refused")).refused
                assert await three.closed() == (1013, "LIMIT_EXCEEDED")
        config = config.replace("max_connections: 3", "max_connections: 300")
        rig.daemon.write(config)
        assert (await rig.daemon.ctl("reload"))[0] == 0
        async with contextlib.AsyncExitStack() as open_ones:
            for number in range(3):
                await (await open_ones.enter_async_context(socket(rig))).hello(f"c{number}")
            status, headers = await refused(http_port(rig.daemon), token=rig.daemon.token)

    assert reason_of(error.error) == "LIMIT_EXCEEDED"
    assert error.step == pb.RECOVERY_STEP_WAIT_THEN_RETRY
    assert error.error.HasField("retry_after")
    assert (status, headers["Retry-After"]) == (429, "1")


async def test_many_at_once_all_hear_everything_in_order(rig: House) -> None:
    """Two hundred sockets in both forms, one publisher."""
    async with contextlib.AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(socket(rig, form=(JSON, PROTO)[number % 2])) for number in range(200)]
        for number, page in enumerate(pages):
            await page.hello(f"many-{number}")
            await page.subscribe("s", event_filter(topic="many"))
        for begin in range(0, 50, 10):
            numbers = range(begin, begin + 10)
            await rig.client.publish([new_event("custom", {"n": n}, custom_type="note", topic="many") for n in numbers])
        for page in pages:
            seen: list[float] = []
            while len(seen) < 50:
                delivery = (await page.take("delivery", timeout=60)).delivery
                seen += [event.custom.json["n"] for event in delivery.events]
            assert seen == list(range(50))


async def test_where_it_listens_needs_a_restart_and_who_may_come_does_not(tmp_path: Path) -> None:
    """gateway.http: host, port and websocket are named by a refused reload; origins change live."""
    async with Daemon(tmp_path, CONFIG) as daemon:
        port, token = http_port(daemon), daemon.token
        for old, new in (("port: 0", "port: 1"), ("port: 0", "host: '::1', port: 0"), ("websocket: true, ", "")):
            daemon.write(CONFIG.replace(old, new, 1))
            code, _, err = await daemon.ctl("reload")
            assert code
            assert "gateway.http." in err
            assert "restart" in err
        daemon.write(CONFIG.replace(PAGE, "https://other.example.com"))
        assert (await daemon.ctl("reload"))[0] == 0

        assert (await refused(port, token=token, origin=PAGE))[0] == 403
        async with RawSocket(port, token=token, origin="https://other.example.com") as page:
            await page.hello("the other page")
