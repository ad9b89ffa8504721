"""Polling over HTTP: the same calls as JSON, behind the same gate."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.rigs.process import Daemon
from tests.rigs.push import join, nothing_more, push
from tests.rigs.stream import RawStream
from tests.rigs.websocket import http_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANN, BOB, NOBODY = (f"gw_{name}_{'0' * 43}" for name in ("ann", "bob", "nobody"))


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


CONFIG = f"""
gateway: {{http: {{port: 0, max_body: 64KiB}}}}
push: {{enabled: true, polling: {{http: true}}}}
clients:
  ann: {{token_sha256: {digest(ANN)}, scopes: ["push:shared.*", "push:ann.>"]}}
  bob: {{token_sha256: {digest(BOB)}, scopes: ["push:shared.*"]}}
  nobody: {{token_sha256: {digest(NOBODY)}, scopes: ["admin.read"]}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path_factory.mktemp("polling"), CONFIG) as daemon:
        yield daemon


class Http:
    """One client over HTTP."""

    def __init__(self, daemon: Daemon, token: str) -> None:
        self.root = f"http://127.0.0.1:{http_port(daemon)}/v1/push"
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60))
        self.poll_token = ""

    async def __aenter__(self) -> "Http":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def ask(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        async with self.session.post(f"{self.root}/poll/{path}", json=body, headers=self.headers, **more) as answer:
            return answer.status, await answer.json()

    async def do(self, path: str, **body: Any) -> Any:
        """Ask with the poll token, and be answered."""
        status, answer = await self.ask(path, {"pollToken": self.poll_token} | body)
        assert status == 200, answer
        return answer

    async def register(self, client_id: str) -> Any:
        _, answer = await self.ask("register", {"clientId": client_id})
        self.poll_token = answer["pollToken"]
        return answer

    async def presence(self, query: str) -> tuple[int, Any]:
        async with self.session.get(f"{self.root}/presence{query}", headers=self.headers) as answer:
            return answer.status, await answer.json()


async def test_a_client_lives_on_http_alone(daemon: Daemon) -> None:
    async with Http(daemon, ANN) as ann, Http(daemon, BOB) as bob, RawStream(daemon.address) as stream:
        await stream.hello("stream")
        made = await ann.register("kiosk")
        assert (made["clientId"], made["wait"], made["heartbeatInterval"], made["expireAfter"]) == (
            "kiosk",
            "30s",
            "15s",
            "60s",
        )
        assert await ann.do("subscribe", topic="shared.one", createIfMissing=True, acknowledged=True) == {
            "pendingCount": 0
        }
        await bob.register("kiosk")
        await bob.do("subscribe", topic="shared.one", watchPresence=True)
        waiting = asyncio.create_task(ann.do("messages", wait="30s"))
        assert (await push(stream, "shared.one", {"text": "hello", "n": 1}, acknowledged=True)).count == 2
        (message,) = (await waiting)["messages"]
        assert (message["topic"], message["data"], message["clientId"]) == (
            "shared.one",
            {"text": "hello", "n": 1},
            "stream",
        )
        assert (await bob.do("messages"))["messages"][0]["deliveryId"] == ""
        assert await ann.do("ack", nackIds=[message["deliveryId"]]) == {"ackCount": 0, "nackCount": 1}
        (again,) = (await ann.do("messages"))["messages"]
        assert again["redelivered"] == 1
        assert await ann.do("ack", ackIds=[again["deliveryId"]]) == {"ackCount": 1, "nackCount": 0}
        assert await ann.do("messages", wait="0s", maxMessages=5) == {
            "messages": [],
            "presenceChanges": [],
            "dropped": "0",
        }
        assert await ann.do("heartbeat", status="busy", metadata={"seat": 4}) == {"presentFor": "45s"}
        status, found = await bob.presence("?topic=shared.one")
        assert status == 200
        assert [(one["clientId"], one["principal"], one["status"]) for one in found["members"]] == [
            ("kiosk", "ann", "busy"),
            ("kiosk", "bob", "online"),
        ]
        assert await ann.do("unsubscribe", topic="shared.one") == {"existed": True}
        assert [one["kind"] for one in (await bob.do("messages"))["presenceChanges"]] == ["PRESENCE_KIND_LEAVE"]


async def test_streams_and_polls_meet_on_one_topic(daemon: Daemon) -> None:
    async with Http(daemon, ANN) as ann, RawStream(daemon.address) as stream:
        await stream.hello("other")
        await ann.register("pos")
        await ann.do("subscribe", topic="shared.two", createIfMissing=True)
        await join(stream, "shared.two")
        assert (await push(stream, "shared.two", {"text": "x"})).count == 1
        assert len((await ann.do("messages"))["messages"]) == 1
        await nothing_more(stream)


async def test_the_gate_is_that_of_every_door(tmp_path: Path) -> None:
    async with Daemon(tmp_path, CONFIG) as daemon:
        async with Http(daemon, NOBODY) as nobody:
            for path in ("register", "messages", "ack", "subscribe", "unsubscribe", "heartbeat"):
                found, answer = await nobody.ask(path, {})
                assert (found, answer["error"]["reason"]) == (403, "PERMISSION_DENIED"), path
            assert (await nobody.presence("?topic=shared.one"))[0] == 403
        for token in ("", "gw_wrong"):
            async with Http(daemon, token) as stranger:
                found, answer = await stranger.ask("register", {})
                assert (found, answer["error"]["reason"]) == (401, "UNAUTHENTICATED")
                assert (await stranger.presence("?topic=shared.one"))[0] == 401


async def test_a_token_of_one_opens_nothing_of_another(daemon: Daemon) -> None:
    async with Http(daemon, ANN) as ann, Http(daemon, BOB) as bob:
        await ann.register("secret")
        bob.poll_token = ann.poll_token
        found, answer = await bob.ask("messages", {"pollToken": ann.poll_token})
        assert (found, answer["error"]["reason"]) == (404, "POLLER_NOT_FOUND")
        await bob.register("b")
        for topic in ("ann.private", "ann.missing"):
            body = {"pollToken": bob.poll_token, "topic": topic, "createIfMissing": True}
            assert (await bob.ask("subscribe", body))[0] == 403
            assert (await bob.presence(f"?topic={topic}"))[0] == 403


async def test_what_is_no_call_is_refused_in_words(daemon: Daemon) -> None:
    async with Http(daemon, ANN) as ann:
        await ann.register("words")
        token = {"pollToken": ann.poll_token}
        for path, body, status in (
            ("messages", {}, 400),
            ("messages", {"pollToken": "unknown"}, 404),
            ("messages", token | {"wait": "soon"}, 400),
            ("messages", token | {"maxMessages": -1}, 400),
            ("messages", token | {"unknown": 1}, 400),
            ("messages", [1], 400),
            ("ack", token, 400),
            ("ack", token | {"ackIds": ["x"] * 1001}, 400),
            ("subscribe", token | {"topic": ""}, 400),
            ("subscribe", token | {"topic": "a..b"}, 400),
            ("subscribe", token | {"topic": "shared.missing"}, 404),
            ("heartbeat", token | {"status": "x" * 65}, 400),
        ):
            found, answer = await ann.ask(path, body)
            assert found == status, (path, body, answer)
            assert answer["error"]["message"]
        for data, kind, status in (
            (b"{", "application/json", 400),
            (b"\xff", "application/json", 400),
            (b"{" * 100_000, "application/json", 413),
            (b'{"a":' * 5_000, "application/json", 400),
            (b"{}", "text/plain", 415),
            (b"", "application/json", 200),
        ):
            url = f"{ann.root}/poll/register"
            headers = ann.headers | {"Content-Type": kind}
            async with ann.session.post(url, data=data, headers=headers) as answer:
                assert answer.status == status, data[:20]
        async with ann.session.get(f"{ann.root}/poll/messages", headers=ann.headers) as answer:
            assert answer.status == 405
        for query, status in (("", 400), ("?topic=", 400), ("?topic=a..b", 400), ("?topic=shared.none", 404)):
            assert (await ann.presence(query))[0] == status, query


async def test_the_list_of_who_is_there_comes_in_pages(daemon: Daemon) -> None:
    async with Http(daemon, ANN) as ann:
        for number in range(105):
            await ann.register(f"c{number:03}")
            await ann.do("subscribe", topic="shared.crowd", createIfMissing=True)
        _, first = await ann.presence("?topic=shared.crowd")
        _, rest = await ann.presence(f"?topic=shared.crowd&page_token={first['nextPageToken']}")
        names = [one["clientId"] for one in [*first["members"], *rest["members"]]]
        assert (len(first["members"]), names, rest["nextPageToken"]) == (
            100,
            [f"c{number:03}" for number in range(105)],
            "",
        )
        assert (await ann.presence("?topic=shared.crowd&page_token=x"))[0] == 400


async def test_polling_is_served_over_http_only_where_the_file_says_so(tmp_path: Path) -> None:
    """push.polling.http: without it there is no listener, and beside a WebSocket there is no such path."""
    config = CONFIG.replace("polling: {http: true}", "polling: {http: false}")
    async with Daemon(tmp_path, config) as daemon:
        assert "http=" not in daemon.log.read_text()
        await daemon.stop()
        daemon.write(config.replace("port: 0,", "port: 0, websocket: true,"))
        await daemon.start()
        async with Http(daemon, ANN) as ann:
            status, answer = await ann.ask("register", {})
            assert (status, answer["error"]["reason"]) == (404, "NOT_FOUND")


async def test_while_push_is_off_http_says_so(tmp_path: Path) -> None:
    async with Daemon(tmp_path, CONFIG.replace("enabled: true", "enabled: false")) as daemon, Http(daemon, ANN) as ann:
        status, answer = await ann.ask("register", {})
        assert (status, answer["error"]["reason"]) == (409, "PUSH_DISABLED")
        assert (await ann.presence("?topic=shared.one"))[0] == 409
