"""Push topics in gatewayctl: what is followed, pushed, and refused."""

import json
import signal
from typing import Any

import grpc
import pytest
from gateway.v1 import topic_pb2

from tests.ctl.command import Process, ctl
from tests.ctl.fake_gateway import FakeGateway, Refusal
from tests.ctl.topics_rig import until

pytestmark = pytest.mark.usefixtures("quiet_environment")


async def test_following_a_topic_prints_messages_as_they_come(gateway: FakeGateway, topic: str) -> None:
    command = await Process.start("topics", "follow", topic, "--address", gateway.address)
    await until(lambda: gateway.push.joins)
    gateway.push.say(topic, {"content": "hi\x1b[2J"})
    line = await command.line()
    command.process.send_signal(signal.SIGINT)
    done = await command.end()

    assert line.endswith('local/other: {"content": "hi\\u001b[2J"}')
    assert (done.code, done.err) == (0, "")


async def test_following_for_programs_is_a_line_of_json_each(gateway: FakeGateway, topic: str) -> None:
    change = topic_pb2.PresenceChange(topic=topic, client_id="c", principal="p", kind=topic_pb2.PRESENCE_KIND_LEAVE)
    command = await Process.start("topics", "follow", topic, "--presence", "-o", "json", "--address", gateway.address)
    await until(lambda: gateway.push.joins)
    (follower,) = gateway.push.members[topic]
    gateway.push.deliver(follower, gateway.push.message(topic, {"n": 1}), presence_changes=[change])
    lines = [json.loads(await command.line()), json.loads(await command.line())]
    gateway.push.end(topic)
    done = await command.end()

    assert lines[0] == {
        "topic": topic,
        "message_id": "t1",
        "client_id": "other",
        "principal": "local",
        "data": {"n": 1},
        "time": 1_760_000_000.5,
    }
    assert (lines[1]["client_id"], lines[1]["kind"]) == ("c", "leave")
    assert done.code == 4
    assert done.err == "gatewayctl: the topic 'orders' was deleted\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("show", "x"), 4, "there is no topic 'x'"),
        (("push", "x", "[1]"), 2, "must be a JSON object"),
        (("push", "x", "{"), 2, "the message is no JSON"),
        (("push", "x", "{}", "--idempotency-key", "k"), 2, "--idempotency-key needs --acknowledged"),
        (("create", "x", "--metadata", "1"), 2, "--metadata must be a JSON object"),
        (("create", "x"), 1, "push is turned off"),
        (("delete", "x"), 5, "push.manage"),
        (("follow", "x"), 4, "there is no topic 'x'"),
    ],
)
async def test_what_goes_wrong_is_a_sentence_and_a_code(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str
) -> None:
    missing = Refusal(grpc.StatusCode.NOT_FOUND, "TOPIC_NOT_FOUND", "there is no topic 'x'")
    gateway.answers["PushService/GetTopic"] = missing
    gateway.answers["PushService/CreateTopic"] = Refusal(
        grpc.StatusCode.FAILED_PRECONDITION, "PUSH_DISABLED", "push is turned off (push.enabled)"
    )
    gateway.answers["PushService/DeleteTopic"] = Refusal(
        grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED", "this needs push.manage:x"
    )

    done = await ctl(capsys, "--address", gateway.address, "topics", *words)

    assert done.code == code
    assert said in done.err
    assert done.out == ""


async def test_what_is_pushed_reaches_the_daemon(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("push", "orders", '{"n": 1}', "--acknowledged", "--idempotency-key", "k")

    done = await ctl(capsys, "--address", gateway.address, "topics", *words)

    request: Any = gateway.requests[0][1]
    assert done.code == 0
    assert (request.topic, dict(request.data), request.acknowledged, request.idempotency_key) == (
        "orders",
        {"n": 1.0},
        True,
        "k",
    )
