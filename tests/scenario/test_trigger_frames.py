"""Entry points are started on a stream: over gRPC and WebSocket, with the rules and the rate of the unary call."""

import hashlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import execution_pb2
from google.protobuf.duration_pb2 import Duration

from tests.rigs.entry_points import execution_is
from tests.rigs.house import House, house, state_of
from tests.rigs.stream import RawStream, reason_of
from tests.rigs.websocket import JSON, PROTO, RawSocket, http_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKENS = {"robot": "gw_robot_" + "0" * 43, "quick": "gw_quick_" + "1" * 43, "none": "gw_none_" + "2" * 43}
DIGESTS = {name: hashlib.sha256(token.encode()).hexdigest() for name, token in TOKENS.items()}
CONFIG = f"""
gateway: {{http: {{port: 0, websocket: true}}, reconnect_timeout: 2m, limits: {{send_rate: 50}}}}
agents:
  echo: {{model: offline/echo}}
  slow: {{model: offline/slow}}
  broken: {{model: offline/fail}}
provider: {{retries: 0}}
entry_points:
  ask: {{agent: echo}}
  wait: {{agent: slow}}
  fail: {{agent: broken}}
clients:
  robot: {{token_sha256: {DIGESTS["robot"]}, scopes: ["runtime:as*"]}}
  quick: {{token_sha256: {DIGESTS["quick"]}, scopes: ["runtime:*"]}}
  none: {{token_sha256: {DIGESTS["none"]}, scopes: ["agents.send:*"]}}
"""
DOORS = ("grpc", JSON, PROTO)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("triggers"), CONFIG) as rig:
        yield rig


def stream(rig: House, door: str = "grpc", name: str = "") -> RawStream:
    """Not welcomed yet. Without a name it may do everything."""
    token = TOKENS.get(name, rig.daemon.token)
    if door == "grpc":
        return RawStream(f"127.0.0.1:{rig.daemon.port}", token=token)
    return RawSocket(http_port(rig.daemon), token=token, form=door)


def trigger(entry_point: str, text: str = "", **more: object) -> pb.ConnectRequest:
    frame = pb.ConnectRequest(trigger=pb.Trigger(entry_point=entry_point, **more))  # type: ignore[arg-type]
    if text:
        frame.trigger.text = text
    return frame


async def final(stream: RawStream) -> pb.Reply:
    while not (reply := (await stream.take("reply", timeout=60)).reply).final:
        pass
    return reply


@pytest.mark.parametrize("door", DOORS)
async def test_an_entry_point_answers_on_the_stream_that_started_it(rig: House, door: str) -> None:
    """`accepted` with the execution, then the reply; in pieces if they are asked for; JSON as its text."""
    async with stream(rig, door) as client:
        assert "trigger" in (await client.hello(f"starter-{door}")).features
        request = await client.ask(trigger("wait", "100ms one two ünd drei", partial_replies=True, correlation_id="o7"))
        accepted = await client.accepted(request)
        replies = []
        while not (replies and replies[-1].reply.final):
            replies.append(await client.take("reply", timeout=60))
        given = trigger("ask")
        given.trigger.json.update({"b": 1, "a": "é"})
        await client.accepted(await client.ask(given))
        as_json = await final(client)

    assert {one.request_id for one in replies} == {request}
    last = replies[-1].reply
    assert (last.execution_id, last.message_id) == (accepted.execution_id, accepted.message_id)
    assert (last.content, last.state) == ("one two ünd drei", execution_pb2.EXECUTION_STATE_SUCCEEDED)
    assert len(replies) > 2
    assert "".join(one.reply.content for one in replies[:-1]) == last.content
    assert as_json.content == '{"a": "é", "b": 1}'
    done = await execution_is(rig, accepted.execution_id, "succeeded")
    assert (done.entry_point, done.correlation_id, done.session_id) == ("wait", "o7", "")
    assert state_of(await rig.story(accepted.message_id)) == "answered"


async def test_the_answer_need_not_be_waited_for_and_may_be_a_failure(rig: House) -> None:
    """`no_reply`: accepted is the last word. A time that is over, and an agent that fails, are told in the reply."""
    async with stream(rig) as client:
        await client.hello("impatient")
        alone = await client.accepted(await client.ask(trigger("ask", "quiet", no_reply=True)))
        await execution_is(rig, alone.execution_id, "succeeded")
        late = trigger("wait", "30s never", timeout=Duration(nanos=50_000_000))
        started = await client.accepted(await client.ask(late))
        over = await final(client)
        await client.accepted(await client.ask(pb.ConnectRequest(cancel=pb.Cancel(execution_id=started.execution_id))))
        await client.accepted(await client.ask(trigger("fail", "please")))
        failed = await final(client)

    assert (over.execution_id, reason_of(over.error)) == (started.execution_id, "DEADLINE_EXCEEDED")
    assert failed.state == execution_pb2.EXECUTION_STATE_FAILED
    assert reason_of(failed.error) == "EXECUTION_FAILED"


async def test_a_key_holds_for_both_doors(rig: House) -> None:
    """The same key and input give the first execution, by a call or by a frame; other input is ID_CONFLICT."""
    first = await rig.client.trigger("ask", "once", idempotency_key="both")
    async with RawStream(rig.daemon.address) as client:
        await client.hello("again")
        again = await client.accepted(await client.ask(trigger("ask", "once", idempotency_key="both")))
        reply = await final(client)
        other = await client.rejected(await client.ask(trigger("ask", "twice", idempotency_key="both")))
        fresh = await client.accepted(await client.ask(trigger("ask", "once", no_reply=True)))

    assert (again.execution_id, again.duplicate, reply.content) == (first.execution_id, True, "once")
    assert reason_of(other) == "ID_CONFLICT"
    assert not fresh.duplicate


@pytest.mark.parametrize("door", ["grpc", JSON])
async def test_what_may_not_or_cannot_be_started_is_rejected_and_ends_nothing(rig: House, door: str) -> None:
    async with stream(rig, door, "robot") as robot, stream(rig, door, "none") as nobody:
        await robot.hello("robot")
        await nobody.hello("nobody")
        forbidden = await robot.rejected(await robot.ask(trigger("wait", "30s no")))
        unknown = await robot.rejected(await robot.ask(trigger("assorted", "hello")))
        blank = await robot.rejected(await robot.ask(trigger("ask", " \n")))
        unnamed = await robot.rejected(await robot.ask(trigger("", "hello")))
        without = await nobody.rejected(await nobody.ask(trigger("ask", "hello")))
        await robot.accepted(await robot.ask(trigger("ask", "hello")))
        content = (await final(robot)).content

    assert [reason_of(error) for error in (forbidden, unknown, without)] == [
        "PERMISSION_DENIED",
        "ENTRY_POINT_NOT_FOUND",
        "PERMISSION_DENIED",
    ]
    assert [error.violations[0].field for error in (blank, unnamed)] == ["trigger.text", "trigger.entry_point"]
    assert content == "hello"


async def test_starting_too_fast_is_refused_with_a_delay(rig: House) -> None:
    """gateway.limits.send_rate holds for frames, too."""
    async with stream(rig, name="quick") as quick:
        await quick.hello("quick")
        ids = [await quick.ask(trigger("ask", "again", no_reply=True)) for _ in range(200)]
        answers = [await quick.answer(id_) for id_ in ids]

    late = [answer.rejected.error for answer in answers if answer.HasField("rejected")]
    assert {reason_of(error) for error in late} == {"LIMIT_EXCEEDED"}
    assert all(error.HasField("retry_after") for error in late)


@pytest.mark.parametrize("door", ["grpc", JSON])
async def test_a_reply_that_a_lost_connection_left_comes_on_the_next(rig: House, door: str) -> None:
    async with stream(rig, door) as first:
        token = (await first.hello(f"cut-{door}")).resume_token
        request = await first.ask(trigger("wait", "700ms late"))
        await first.accepted(request)
        await first.cut()
        async with stream(rig, door) as second:
            assert (await second.hello(f"cut-{door}", token)).resumed
            frame = await second.take("reply", timeout=60)

    assert (frame.request_id, frame.reply.content, frame.reply.final) == (request, "late", True)


@pytest.mark.parametrize("door", DOORS)
async def test_an_input_that_is_too_deep_is_refused_alone(rig: House, door: str) -> None:
    """INVALID_ARGUMENT with the field and the bound for that request, and the stream goes on."""
    deep = trigger("ask")
    value: dict[str, object] = {"a": 1}
    for _ in range(39):
        value = {"a": value}
    deep.trigger.json.update(value)
    async with stream(rig, door) as client:
        await client.hello(f"deep-{door}")
        error = await client.rejected(await client.ask(deep))
        await client.accepted(await client.ask(trigger("ask", "still here")))
        reply = await final(client)

    assert reason_of(error) == "INVALID_ARGUMENT"
    assert [one.field for one in error.violations] == ["frame" if door == JSON else "trigger.json"]
    assert "deeper than 32" in error.violations[0].description
    assert reply.content == "still here"
