"""Webhooks (P6.6): who may send, what becomes of it, and what a reload changes; against the real daemon."""

import asyncio
import functools
import itertools
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from gateway.v1 import admin_service_pb2 as admin

from gatewayctl.client import GatewayError
from tests.rigs.house import House, house
from tests.rigs.in_process import InProcess
from tests.rigs.webhooks import SECRET, WHSEC, Sender, github, standard, told

pytestmark = pytest.mark.asyncio(loop_scope="module")

ECHO = "agents: {echo: {model: offline/echo}}\n"
HTTP = "gateway: {http: {port: 0, max_body: 64KiB}}\n" + ECHO
CONFIG = (
    HTTP
    + f"""
webhooks:
  repo: {{path: /hooks/github, secret: {SECRET}}}
  other: {{path: /hooks/other, secret: another secret of another source}}
  shop: {{path: /hooks/shop, scheme: standard, secret: {WHSEC}, methods: [POST, PUT]}}
  turning: {{path: /hooks/turning, secret: [the one before, the one to come]}}
  open: {{path: /hooks/open, insecure_no_secret: true, methods: [GET, POST]}}
"""
)
NUMBERS = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("webhooks"), CONFIG) as rig:
        yield rig


@pytest_asyncio.fixture(loop_scope="module")
async def sender(rig: House) -> AsyncIterator[Sender]:
    async with Sender(rig.daemon) as sender:
        yield sender


def fresh() -> str:
    """The id of a delivery that was not used before."""
    return f"delivery-{next(NUMBERS)}"


async def reload(rig: House, config: str) -> None:
    rig.daemon.write(config)
    await rig.client.call(
        "AdminService/ReloadConfig", admin.ReloadConfigRequest(), admin.ReloadConfigResponse, timeout=30
    )


async def test_a_signed_request_is_an_event_of_its_source(rig: House, sender: Sender) -> None:
    """202, and then the event is in the log: named after the delivery, on the stream of the source."""
    body, delivery = b'{"action": "opened", "number": 7, "labels": ["a", null]}', fresh()
    headers = github(body, delivery) | {
        "Authorization": "Bearer leaked",
        "Cookie": "a=b",
        "X-GitHub-Event": "issues",
        "X-Hub-Signature": "sha1=00",
        "X-Api-Key": "leaked",
    }

    status, said, _ = await sender.send("/hooks/github?tag=a&tag=b&one=&token=leaked", body, headers)
    (event,) = [each for each in await rig.events("webhook_received", stream_id="repo") if each.id == delivery]
    data = told(event)

    assert (status, said) == (202, {"status": "accepted"})
    assert event.source == "gatewayd"
    assert data["path"] == "/hooks/github"
    assert data["method"] == "POST"
    assert data["payload"] == {"action": "opened", "number": 7.0, "labels": ["a", None]}
    assert data["query_params"] == {"tag": ["a", "b"], "one": ""}
    assert data["headers"]["x-github-event"] == "issues"
    assert data["headers"]["content-type"] == "application/json"
    assert "leaked" not in str(event)
    assert not {"authorization", "cookie", "x-hub-signature", "x-hub-signature-256"} & data["headers"].keys()


async def test_standard_webhooks_are_taken_with_any_of_several_signatures(rig: House, sender: Sender) -> None:
    """The methods are the file's, and a signature of a key that is not ours beside ours does no harm."""
    body, delivery = b'{"type": "paid"}', fresh()
    headers = standard(body, delivery)
    headers["webhook-signature"] = f"v1,bm90IG91cnM= v1a,abc {headers['webhook-signature']}"

    assert await sender.status("/hooks/shop", body, headers, method="PUT") == 202
    (event,) = [each for each in await rig.events("webhook_received", stream_id="shop") if each.id == delivery]
    assert told(event)["payload"] == {"type": "paid"}
    assert not {"webhook-signature"} & told(event)["headers"].keys()


async def test_both_secrets_work_while_one_replaces_another(sender: Sender) -> None:
    """A list of two."""
    for secret, status in (("the one before", 202), ("the one to come", 202), (SECRET, 401)):
        assert await sender.status("/hooks/turning", b"{}", github(b"{}", fresh(), secret)) == status


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b"not { json", {"raw_body": "not { json"}),
        (b"", {"raw_body": ""}),
        (b"payload=%7B%7D&x=1", {"raw_body": "payload=%7B%7D&x=1"}),
        (b'{"a": NaN}', {"raw_body": '{"a": NaN}'}),
        (b'{"a": 1e999}', {"raw_body": '{"a": 1e999}'}),
        (b"[" * 5000, {"raw_body": "[" * 5000}),
        (b"[" * 40 + b"]" * 40, {"raw_body": "[" * 40 + "]" * 40}),
        (b"[" + b"0," * 20000 + b"0]", {"raw_body": "[" + "0," * 20000 + "0]"}),
        (b"\xff\xfe\x00", {"raw_body": "\ufffd\ufffd\0"}),
        (b'"text"', "text"),
        (b"null", None),
        (b'{"a": "\\ud800"}', {"a": "\ufffd"}),
    ],
)
async def test_F56_what_is_no_json_is_told_as_it_came(rig: House, sender: Sender, body: bytes, payload: object) -> None:
    delivery = fresh()
    assert await sender.status("/hooks/github", body, github(body, delivery)) == 202
    (event,) = [each for each in await rig.events("webhook_received", stream_id="repo") if each.id == delivery]
    assert told(event).get("payload") == payload  # null is left out


async def test_F54_ten_times_the_same_delivery_is_one_event_and_the_same_answer(rig: House, sender: Sender) -> None:
    """Ten at once, and then each again in another order: one effect each, 202 for all."""
    body, deliveries = b'{"n": 1}', [fresh() for _ in range(10)]
    before = len(await rig.events("webhook_received", stream_id="repo"))

    for order in (deliveries, deliveries[::-1]):
        answers = await asyncio.gather(
            *(sender.send("/hooks/github", body, github(body, each)) for each in order for _ in range(10))
        )
        assert {(status, said["status"]) for status, said, _ in answers} == {(202, "accepted")}
    found = await rig.events("webhook_received", stream_id="repo")
    assert len(found) - before == 10
    assert {each.id for each in found} >= set(deliveries)


async def test_F54_the_same_id_at_another_source_is_another_delivery(rig: House, sender: Sender) -> None:
    body, delivery = b"{}", fresh()
    assert await sender.status("/hooks/github", body, github(body, delivery)) == 202
    assert await sender.status("/hooks/shop", body, standard(body, delivery)) == 202
    assert [each.id for each in await rig.events("webhook_received", stream_id="shop")].count(delivery) == 1


async def test_F54_without_an_id_what_was_signed_stands_for_it(rig: House, sender: Sender) -> None:
    """A copy of a signed request has no second effect; without a signature each request is one of its own."""
    body = b'{"once": true}'
    assert [await sender.status("/hooks/github", body, github(body)) for _ in range(3)] == [202] * 3
    found = [told(each) for each in await rig.events("webhook_received", stream_id="repo")]
    assert sum(each.get("payload") == {"once": True} for each in found) == 1

    assert [await sender.status("/hooks/open", body, {}) for _ in range(3)] == [202] * 3
    assert len(await rig.events("webhook_received", stream_id="open")) == 3


def _f55() -> dict[str, tuple[str, dict[str, str]]]:
    body, now = b'{"a": 1}', time.time()
    good, at = github(body, "never"), standard(body, "never")
    mac = good["X-Hub-Signature-256"]
    return {
        "none": ("/hooks/github", {}),
        "wrong": ("/hooks/github", {"X-Hub-Signature-256": "sha256=" + "0" * 64}),
        "cut": ("/hooks/github", {"X-Hub-Signature-256": mac[:-1]}),
        "without its prefix": ("/hooks/github", {"X-Hub-Signature-256": mac[7:]}),
        "under another name": ("/hooks/github", {"X-Hub-Signature": mac}),
        "of another body": ("/hooks/github", github(body + b" ", "never")),
        "by the secret of another route": ("/hooks/other", good),
        "of the other scheme": ("/hooks/github", at),
        "of the first scheme": ("/hooks/shop", good),
        "old": ("/hooks/shop", standard(body, "never", at=now - 400)),
        "future": ("/hooks/shop", standard(body, "never", at=now + 400)),
        "by another key": ("/hooks/shop", standard(body, "never", b"another key")),
        "with another id": ("/hooks/shop", at | {"webhook-id": "other"}),
        "with another time": ("/hooks/shop", at | {"webhook-timestamp": str(int(now) + 1)}),
        "with no time": ("/hooks/shop", at | {"webhook-timestamp": "now"}),
        "with an endless time": ("/hooks/shop", at | {"webhook-timestamp": "9" * 400}),
        "empty": ("/hooks/shop", at | {"webhook-signature": ""}),
    }


@pytest.mark.parametrize("wrong", list(_f55()))
async def test_F55_what_is_not_signed_rightly_is_401_and_no_event(rig: House, sender: Sender, wrong: str) -> None:
    body = b'{"a": 1}'
    path, headers = _f55()[wrong]  # made now: what is signed for the future is of now a little later
    status, said, _ = await sender.send(path, body, headers)

    assert status == 401
    assert said["error"]["reason"] == "UNAUTHENTICATED"
    assert said["error"]["message"] == "the signature is missing, wrong, or not of now"
    assert not [each for each in await rig.events("webhook_received") if each.id == "never"]


async def test_F55_refusals_are_counted_and_told_without_what_was_sent(tmp_path: Path) -> None:
    """One line for many, with the source and the reason."""
    async with house(tmp_path, CONFIG) as rig, Sender(rig.daemon) as sender:
        for _ in range(20):
            assert await sender.status("/hooks/github", b'{"a": "a-secret-body"}', {}) == 401
        lines = [line for line in rig.daemon.log.read_text().splitlines() if "webhook_refused" in line]
        assert len(lines) == 1
        assert "webhook=repo" in lines[0]
        assert "no signature" in lines[0]
        assert "a-secret-body" not in rig.daemon.log.read_text()
        assert SECRET not in rig.daemon.log.read_text()


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/hooks/none", "POST", {}, 404),
        ("/hooks/github/", "POST", {}, 404),
        ("/hooks/github", "GET", {}, 405),
        ("/hooks/github", "POST", {"Content-Encoding": "gzip"}, 415),
        ("/hooks/github", "POST", {"Content-Type": "image/png"}, 415),
        ("/hooks/github", "POST", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ("/hooks/github", "POST", {"Content-Type": "application/json; charset=utf-16"}, 415),
        ("/hooks/github", "POST", {"Content-Type": "application/json; charset=UTF-8"}, 202),
        ("/hooks/github", "POST", {"Content-Type": "application/octet-stream"}, 202),
        ("/hooks/github", "POST", {"X-GitHub-Delivery": "x" * 200}, 400),
        ("/hooks/github", "POST", {"Host": "example.com"}, 403),
        ("/hooks/github", "POST", {"Origin": "https://example.com"}, 403),
    ],
)
async def test_F56_what_is_not_for_a_webhook_has_a_status_of_its_own(
    sender: Sender, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    body = b'{"b": 1}'
    found, _, answered = await sender.send(path, body, github(body, fresh()) | headers, method=method)
    assert found == status
    if status == 405:
        assert answered["Allow"] == "POST"


async def test_gateway_http_max_body_bounds_a_webhook(sender: Sender) -> None:
    """F56: 413, signed or not, before anybody looks at it."""
    for size, status in ((64 * 1024, 202), (64 * 1024 + 1, 413)):
        body = b'"' + b"x" * (size - 2) + b'"'
        assert await sender.status("/hooks/github", body, github(body, fresh())) == status


async def test_a_webhook_without_a_secret_is_for_this_machine_alone(rig: House, sender: Sender) -> None:
    """What came through a proxy, or under another name, is refused; the log keeps nothing of it."""
    assert await sender.status("/hooks/open", b"{}", {}, method="GET") == 202
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        assert await sender.status("/hooks/open", b"{}", {header: "203.0.113.7"}) == 403
    assert await sender.status("/hooks/open", b"{}", {"Sec-Fetch-Site": "cross-site"}, method="GET") == 403


async def test_paths_come_change_and_go_while_it_runs(tmp_path: Path) -> None:
    """The listener opens with the first webhook and closes with the last; what stays is not touched."""
    one = "webhooks: {one: {path: /hooks/one, secret: first secret}}\n"
    async with house(tmp_path, HTTP) as rig, Sender(rig.daemon) as sender:
        assert "http=" not in rig.daemon.log.read_text()
        await reload(rig, HTTP + one)
        assert await sender.status("/hooks/one", b"{}", github(b"{}", "1", "first secret")) == 202

        await reload(rig, HTTP + one.replace("first", "second") + "  ")
        assert await sender.status("/hooks/one", b"{}", github(b"{}", "2", "first secret")) == 401
        assert await sender.status("/hooks/one", b"{}", github(b"{}", "2", "second secret")) == 202
        await reload(rig, HTTP + one.replace("/hooks/one", "/hooks/two"))
        assert await sender.status("/hooks/one", b"{}", github(b"{}", "3", "first secret")) == 404
        assert await sender.status("/hooks/two", b"{}", github(b"{}", "1", "first secret")) == 202
        found = [each.id for each in await rig.events("webhook_received", stream_id="one")]
        assert found == ["1", "2"]  # of the same source: seen under its old path

        await reload(rig, HTTP)
        with pytest.raises(OSError, match="Cannot connect"):
            await sender.status("/hooks/two", b"{}", {})
        await reload(rig, HTTP + one)
        assert await sender.status("/hooks/one", b"{}", github(b"{}", "5", "first secret")) == 202


async def test_a_reload_that_cannot_listen_changes_nothing(tmp_path: Path) -> None:
    """Somebody has the port: refused in words, and possible once the port is free."""
    holder = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    config = f"gateway: {{http: {{port: {holder.sockets[0].getsockname()[1]}}}}}\n" + ECHO
    async with InProcess(tmp_path, config) as gateway, gateway.client("operator") as client:
        ask = functools.partial(
            client.call, "AdminService/ReloadConfig", admin.ReloadConfigRequest(), admin.ReloadConfigResponse
        )
        gateway.write(config + f"webhooks: {{one: {{path: /hooks/one, secret: {SECRET}}}}}\n")
        with pytest.raises(GatewayError, match="the address is in use") as refused:
            await ask(timeout=30)
        assert refused.value.reason == "RELOAD_FAILED"
        assert gateway.house.http.reports == []
        holder.close()
        await holder.wait_closed()

        await ask(timeout=30)
        assert [one.source_id for one in gateway.house.http.reports] == ["one"]


async def test_a_secret_that_is_not_there_is_503_and_never_an_open_door(tmp_path: Path) -> None:
    """It begins to work at the reload after the secret has come."""
    config = HTTP + f"webhooks: {{late: {{path: /hooks/late, secret: 'file:{tmp_path}/secret'}}}}\n"
    async with house(tmp_path, config) as rig, Sender(rig.daemon) as sender:
        for headers in ({}, github(b"{}", "1"), github(b"{}", "1", "")):
            status, _, answered = await sender.send("/hooks/late", b"{}", headers)
            assert status == 503
            assert int(answered["Retry-After"]) > 0
        code, said, _ = await rig.daemon.ctl("status")
        assert code == 0
        assert "degraded: webhook late: file" in said
        (tmp_path / "secret").write_text(SECRET + "\n")
        (tmp_path / "secret").chmod(0o600)
        await reload(rig, config)
        assert await sender.status("/hooks/late", b"{}", github(b"{}", "1")) == 202
        assert "degraded" not in (await rig.daemon.ctl("status"))[1]


async def test_the_status_counts_what_came_to_each_webhook(tmp_path: Path) -> None:
    """For operators: what was taken, what was a repeat, what was refused."""
    async with house(tmp_path, CONFIG) as rig, Sender(rig.daemon) as sender:
        for headers in (github(b"{}", "1"), github(b"{}", "1"), github(b"{}", "2"), {}, {}, {}):
            await sender.send("/hooks/github", b"{}", headers)
        status = json.loads((await rig.daemon.ctl("-o", "json", "status"))[1])
        shown = (await rig.daemon.ctl("status"))[1].splitlines()

    found = {each["source_id"]: each for each in status["webhooks"]}
    assert set(found) == {"repo", "other", "shop", "turning", "open"}
    assert {key: found["repo"][key] for key in ("path", "accepted", "duplicates", "refused", "put_off", "reason")} == {
        "path": "/hooks/github",
        "accepted": 2,
        "duplicates": 1,
        "refused": 3,
        "put_off": 0,
        "reason": "",
    }
    (line,) = [each.split() for each in shown if "/hooks/github" in each]
    assert line == ["repo", "/hooks/github", "2", "1", "3", "0"]
