"""Executions are fed, paused, resumed and cancelled on a stream, with the rules and the errors of the calls."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import execution_pb2

from tests.rigs.entry_points import execution_is
from tests.rigs.house import House, eventually
from tests.rigs.process import Daemon
from tests.rigs.steps import CONFIG, hold, let_go, lines, stepping
from tests.rigs.stream import RawStream, reason_of
from tests.rigs.websocket import JSON, PROTO, RawSocket, http_port

TOKENS = {"one": "gw_one_" + "0" * 43, "other": "gw_other_" + "1" * 43, "reader": "gw_reader_" + "2" * 43}
DIGESTS = {name: hashlib.sha256(token.encode()).hexdigest() for name, token in TOKENS.items()}
WITH_CLIENTS = (
    CONFIG.replace(
        "gateway: {drain_timeout: 2}",
        "gateway: {drain_timeout: 2, http: {port: 0, websocket: true}, limits: {send_rate: 20}}",
    )
    + f"""
clients:
  one: {{token_sha256: {DIGESTS["one"]}, scopes: ["runtime:*"]}}
  other: {{token_sha256: {DIGESTS["other"]}, scopes: ["runtime:*", "agents.send:*"]}}
  reader: {{token_sha256: {DIGESTS["reader"]}, scopes: ["sessions:own"]}}
"""
)
DOORS = ("grpc", JSON, PROTO)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    daemon = stepping(tmp_path, WITH_CLIENTS)
    async with daemon:
        yield daemon


def stream(daemon: Daemon, door: str, name: str = "one") -> RawStream:
    """Not welcomed yet."""
    if door == "grpc":
        return RawStream(f"127.0.0.1:{daemon.port}", token=TOKENS[name])
    return RawSocket(http_port(daemon), token=TOKENS[name], form=door)


def trigger(entry_point: str, text: str) -> pb.ConnectRequest:
    return pb.ConnectRequest(trigger=pb.Trigger(entry_point=entry_point, text=text))


def give(execution_id: str, content: str, node_id: str = "name") -> pb.ConnectRequest:
    return pb.ConnectRequest(inject_input=pb.InjectInput(execution_id=execution_id, node_id=node_id, content=content))


def pause(execution_id: str, reason: str = "") -> pb.ConnectRequest:
    return pb.ConnectRequest(pause=pb.Pause(execution_id=execution_id, reason=reason))


def resume(execution_id: str) -> pb.ConnectRequest:
    return pb.ConnectRequest(resume=pb.Resume(execution_id=execution_id))


def cancel(execution_id: str, reason: str = "") -> pb.ConnectRequest:
    return pb.ConnectRequest(cancel=pb.Cancel(execution_id=execution_id, reason=reason))


async def marked(place: Path, count: int) -> bool:
    """Whether so many tools are at work."""
    return len(lines(place, "marks")) >= count


@pytest.mark.parametrize("door", DOORS)
async def test_what_was_started_on_a_stream_is_fed_and_answers_there(daemon: Daemon, door: str) -> None:
    async with daemon.client() as client, stream(daemon, door) as one:
        rig = House(daemon, client, {})
        assert "controls" in (await one.hello("one")).features
        asked = await one.ask(trigger("ask", "Hello"))
        execution_id = (await one.accepted(asked)).execution_id
        await execution_is(rig, execution_id, "input_required")

        accepted = await one.accepted(await one.ask(give(execution_id, "Änn")))
        reply = await one.take("reply", timeout=60)

    assert accepted.execution_id == execution_id
    assert (reply.request_id, reply.reply.content) == (asked, "Well. Hello, Änn!")
    assert reply.reply.state == execution_pb2.EXECUTION_STATE_SUCCEEDED


async def test_a_stream_pauses_resumes_and_cancels_with_a_reason(tmp_path: Path, daemon: Daemon) -> None:
    """`accepted` does not wait for the step at which it leaves. A scope `runtime` is enough, as it is for the calls."""
    hold(tmp_path, "a")
    async with daemon.client() as client, stream(daemon, "grpc") as one:
        rig = House(daemon, client, {})
        await one.hello("one")
        first, second = [(await one.accepted(await one.ask(trigger("work", "go")))).execution_id for _ in range(2)]
        await eventually(lambda: marked(tmp_path, 2))
        await one.accepted(await one.ask(pause(first, "look at it")))
        assert (await execution_is(rig, first, "running")).id == first
        await one.accepted(await one.ask(cancel(second, "not needed")))
        let_go(tmp_path, "a")
        paused = await execution_is(rig, first, "paused")
        await one.accepted(await one.ask(resume(first)))
        done = await execution_is(rig, first, "succeeded")
        ended = await execution_is(rig, second, "cancelled")

    assert paused.reason == "paused by one: look at it"
    assert done.output == "Working.\n\nDone."
    assert ended.reason == "cancelled by one: not needed"


@pytest.mark.parametrize("door", ["grpc", JSON])
async def test_what_cannot_be_done_is_rejected_as_the_calls_refuse_it(daemon: Daemon, door: str) -> None:
    """Wrong states, wrong input, executions of others: the stream goes on, and so does the execution."""
    async with (
        daemon.client() as client,
        stream(daemon, door) as one,
        stream(daemon, door, "other") as other,
        stream(daemon, door, "reader") as reader,
    ):
        rig = House(daemon, client, {})
        for name, each in {"one": one, "other": other, "reader": reader}.items():
            await each.hello(name)
        execution_id = (await one.accepted(await one.ask(trigger("ask", "Hello")))).execution_id
        await execution_is(rig, execution_id, "input_required")

        strange = [await other.rejected(await other.ask(asks(execution_id, "x"))) for asks in (give, pause, cancel)]
        strange.append(await other.rejected(await other.ask(resume(execution_id))))
        unknown = await one.rejected(await one.ask(give("x1", "Ann")))
        without = [await reader.rejected(await reader.ask(asks(execution_id, "x"))) for asks in (give, pause, cancel)]
        wrong = [
            await one.rejected(await one.ask(frame))
            for frame in (
                give("", "x"),
                give(execution_id, "x" * (64 * 1024 + 1)),
                give(execution_id, "x", "n" * 257),
                pause(execution_id, "r" * 257),
                cancel(execution_id, "two\nlines"),
            )
        ]
        other_node = await one.rejected(await one.ask(give(execution_id, "Ann", "surname")))
        unpaused = await one.rejected(await one.ask(resume(execution_id)))
        still = await one.accepted(await one.ask(pause(execution_id)))
        await one.accepted(await one.ask(give(execution_id, "Ann")))
        done = await execution_is(rig, execution_id, "succeeded")
        ended = [await one.rejected(await one.ask(asks(execution_id, "x"))) for asks in (give, pause, cancel)]

    assert {reason_of(error) for error in (*strange, unknown)} == {"NOT_FOUND"}
    assert {reason_of(error) for error in without} == {"PERMISSION_DENIED"}
    assert [error.violations[0].field for error in wrong] == [
        "inject_input.execution_id",
        "inject_input.content",
        "inject_input.node_id",
        "pause.reason",
        "cancel.reason",
    ]
    assert (reason_of(other_node), other_node.metadata["node_id"]) == ("NOT_WAITING", "name")
    assert reason_of(unpaused) == "NOT_PAUSED"
    assert still.execution_id == execution_id
    assert done.output == "Well. Hello, Ann!"
    assert {reason_of(error) for error in ended} == {"EXECUTION_FINISHED"}


async def test_feeding_too_fast_is_refused_with_a_delay(daemon: Daemon) -> None:
    """gateway.limits.send_rate holds for what queues an execution again, not for cancelling."""
    async with stream(daemon, "grpc") as one:
        await one.hello("one")
        ids = [await one.ask(give("x1", "Ann")) for _ in range(200)]
        late = [error for id_ in ids if reason_of(error := await one.rejected(id_)) != "NOT_FOUND"]
        ids = [await one.ask(cancel("x1")) for _ in range(200)]
        cancelled = {reason_of(await one.rejected(id_)) for id_ in ids}

    assert {reason_of(error) for error in late} == {"LIMIT_EXCEEDED"}
    assert all(error.HasField("retry_after") for error in late)
    assert cancelled == {"NOT_FOUND"}
