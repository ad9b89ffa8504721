"""JSON that somebody types or a program hands over: what would not arrive as it is, is refused where it is said."""

import asyncio
import json

import pytest
from gateway.v1.event_pb2 import Event
from gateway.v1.event_type_pb2 import EVENT_TYPE_CUSTOM
from google.protobuf.struct_pb2 import Struct

from gatewayctl.client import InvalidArgument, new_event
from tests.ctl.answers import everything
from tests.ctl.command import ctl
from tests.ctl.fake_gateway import FakeGateway
from tests.ctl.sdk_rig import client_of

pytestmark = pytest.mark.usefixtures("quiet_environment")
Capture = pytest.CaptureFixture[str]

GIVEN = [
    ["topics", "push", "orders.eu"],
    ["topics", "create", "orders.eu", "--metadata"],
    ["publish", "--custom", "tick", "--data"],
    ["state", "set", "orders.open"],
    ["trigger", "nightly", "--input"],
    ["trigger", "nightly", "--memory"],
]


def nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize("words", GIVEN, ids=" ".join)
async def test_what_is_nested_too_deep_is_refused_before_it_is_sent(
    gateway: FakeGateway, capsys: Capture, words: list[str]
) -> None:
    gateway.answers = everything()

    for depth in (33, 60, 5000):
        done = await ctl(capsys, "--address", gateway.address, *words, '{"a":' * depth + "1" + "}" * depth)

        assert (done.code, done.out) == (2, "")
        assert "nested deeper than 32" in done.err


@pytest.mark.parametrize("words", GIVEN, ids=" ".join)
async def test_a_number_that_would_be_rounded_is_refused(
    gateway: FakeGateway, capsys: Capture, words: list[str]
) -> None:
    gateway.answers = everything()

    for number in ("9007199254740993", "-1187654321098765433", "9" * 400):
        done = await ctl(capsys, "--address", gateway.address, *words, f'{{"order": {number}}}')

        assert (done.code, done.out) == (2, "")
        assert f'write it as a text, "{number}"' in done.err
    for number in ("9007199254740992", "1e3", "0.1"):
        assert (await ctl(capsys, "--address", gateway.address, *words, f'{{"order": {number}}}')).code == 0


async def test_an_event_nested_too_deep_fails_alone_and_publishing_goes_on(gateway: FakeGateway) -> None:
    """Made by hand, it is found where the batch is put together, which must not end with it."""
    deep, good = Event(type=EVENT_TYPE_CUSTOM, custom_type="deep"), new_event("custom", {}, custom_type="good")
    inner: Struct = deep.custom.json
    for _ in range(60):
        inner = inner.fields["a"].struct_value
    inner.SetInParent()
    async with client_of(gateway) as client, asyncio.timeout(60):
        refused, published = await asyncio.gather(client.publish(deep), client.publish(good), return_exceptions=True)
        await client.publish(new_event("custom", {}, custom_type="later"))

    assert isinstance(refused, InvalidArgument)
    assert "nested deeper than 32" in refused.message
    assert isinstance(published, str)


async def test_the_sdk_names_what_is_nested_too_deep(gateway: FakeGateway) -> None:
    new_event("custom", nested(32), custom_type="fits")
    new_event("message", {"content": "", "parts": nested(32)})
    for data in ({"custom_type": "x", "data": nested(33)},):
        with pytest.raises(ValueError, match="nested deeper than 32"):
            new_event("custom", **data)  # type: ignore[arg-type]
    async with client_of(gateway) as client:
        with pytest.raises(InvalidArgument, match="data: nested deeper"):
            await client.topics.push("orders", nested(60))
        with pytest.raises(InvalidArgument, match="value: nested deeper"):
            await client.state.set("orders", [nested(60)])


@pytest.mark.parametrize("form", ["json", "yaml"])
async def test_programs_get_nothing_that_a_terminal_obeys(gateway: FakeGateway, capsys: Capture, form: str) -> None:
    """Not by escape, nor by its one-character form, nor by marks that turn the line; and what it says is the same."""
    evil = "a\x1b[31mb\x9b31mc\u202ed ä"
    gateway.answers = everything()
    gateway.answers["AgentService/SendMessage"].content = evil

    done = await ctl(capsys, "--address", gateway.address, "-o", form, "send", "sales", "hello")

    assert not {"\x1b", "\x9b", "\u202e"} & set(done.out)
    if form == "json":
        assert json.loads(done.out)["content"] == evil


@pytest.mark.parametrize("limit", ["-1", "x", "1.5"])
async def test_a_limit_is_a_count(gateway: FakeGateway, capsys: Capture, limit: str) -> None:
    done = await ctl(capsys, "--address", gateway.address, "executions", "--limit", limit)

    assert done.code == 2
    assert "--limit" in done.err


async def test_a_list_that_is_cut_short_says_so(gateway: FakeGateway, capsys: Capture) -> None:
    gateway.answers = everything()
    rows = gateway.answers["RuntimeService/ListExecutions"].executions
    while len(rows) < 3:
        rows.append(rows[0])
    del rows[3:]

    cut = await ctl(capsys, "--address", gateway.address, "-o", "json", "executions", "--limit", "2")
    whole = await ctl(capsys, "--address", gateway.address, "-o", "json", "executions", "--limit", "3")

    assert (len(json.loads(cut.out)), cut.err) == (2, "there are more than these 2: --limit 0 lists all\n")
    assert (len(json.loads(whole.out)), whole.err) == (3, "")
