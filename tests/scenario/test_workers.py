"""Programs that answer for an agent: answers, losses, goodbyes, sharing, and what is refused."""

import asyncio
import hashlib
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from gateway.v1 import admin_service_pb2
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import (
    Call,
    CallFailed,
    Client,
    ExecutionFailed,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
    event_filter,
    new_event,
)
from gatewayctl.plain import enum_name
from tests.rigs.house import House, eventually, house
from tests.rigs.process import Daemon
from tests.rigs.stream import RawStream, reason_of
from tests.rigs.websocket import RawSocket, http_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOON = "gateway: {reconnect_timeout: 300ms}\nagents: {lookup: {remote: true}}\n"
TOKEN = f"gw_robot_{'0' * 43}"
CONFIG = """
gateway: {reconnect_timeout: 2m, http: {port: 0, websocket: true}}
agents:
  lookup: {remote: true, timeout: 30s}
  quick: {remote: true, timeout: 1s}
  other: {remote: true}
  echo: {model: offline/echo}
channels:
  shop: {platform: sim, server: "unix:@net", token: shop, routing: {default: lookup}}
clients:
  robot:
    token_sha256: DIGEST
    scopes: ["agents.register:other", "events.publish:*@*"]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    config = CONFIG.replace("DIGEST", hashlib.sha256(TOKEN.encode()).hexdigest())
    async with house(tmp_path_factory.mktemp("workers"), config) as rig:
        yield rig


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def alone(rig: House) -> None:
    """Nobody serves anything, and nobody is connected but the rig."""

    async def nobody() -> bool:
        return [await workers_of(rig, name) for name in ("lookup", "quick", "other")] == [0, 0, 0]

    await eventually(nobody)


async def workers_of(rig: House, name: str) -> int:
    answer = await rig.client.call(
        "AdminService/ListAgents", admin_service_pb2.ListAgentsRequest(), admin_service_pb2.ListAgentsResponse
    )
    agent = next(each for each in answer.agents if each.id == name)
    kind = enum_name(admin_service_pb2.AgentKind.DESCRIPTOR, agent.kind)
    assert kind == ("model" if name == "echo" else "remote")
    return agent.workers


def register(agent: str = "lookup", **more: object) -> pb.ConnectRequest:
    return pb.ConnectRequest(register_agent=pb.RegisterAgent(agent=agent, **more))  # type: ignore[arg-type]


def reply(call_id: str, content: str = "", **more: object) -> pb.ConnectRequest:
    return pb.ConnectRequest(call_reply=pb.CallReply(call_id=call_id, content=content, **more))  # type: ignore[arg-type]


async def worker(stream: RawStream, client_id: str = "raw", agent: str = "lookup", **more: object) -> pb.Welcome:
    """A raw stream that is welcomed and serves the agent."""
    welcome = await stream.hello(client_id)
    await stream.accepted(await stream.ask(register(agent, **more)))
    return welcome


# The SDK


async def test_a_worker_answers_in_pieces(rig: House) -> None:
    async def answer(call: Call) -> AsyncIterator[str]:
        yield "You said: "
        yield call.text
        yield f" ({call.principal}, {call.agent})"

    async with rig.daemon.client("worker") as client, client.serve_agent("lookup", answer):
        pieces = [piece async for piece in rig.client.stream("lookup", "Grüße 🚀")]
        again = await rig.client.send("lookup", "x")

    assert "".join(pieces) == "You said: Grüße 🚀 (local, lookup)"
    assert again.content == "You said: x (local, lookup)"
    assert again.state == "succeeded"


async def test_an_async_function_answers_at_once_and_its_faults_are_told(
    rig: House, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(call: Call) -> str:
        if call.text == "give up":
            raise CallFailed("That is beyond me.")
        if call.text == "crash":
            raise RuntimeError("secret")
        if call.text == "cancelled":
            helper = asyncio.ensure_future(asyncio.sleep(60))
            helper.cancel()
            await helper
        return "-".join(f"{role}:{text}" for role, text in call.history) or "nothing before"

    async with rig.daemon.client("worker") as client, client.serve_agent("lookup", answer, history=True):
        await rig.client.send("lookup", "one")
        second = await rig.client.send("lookup", "two")
        with pytest.raises(ExecutionFailed, match=r"^That is beyond me\.$"):
            await rig.client.send("lookup", "give up")
        with pytest.raises(ExecutionFailed, match="Something went wrong inside the agent") as failure:
            await rig.client.send("lookup", "crash")
        with pytest.raises(ExecutionFailed, match="Something went wrong inside the agent"):
            await rig.client.send("lookup", "cancelled")

    assert "user:one" in second.content
    assert "secret" not in failure.value.message
    assert "secret" in caplog.text


async def test_a_worker_that_is_cut_off_goes_on_with_its_answer_when_it_is_back(rig: House) -> None:
    """Its connection is cut in the middle of an answer; not a character is lost or said twice."""
    go, heard = asyncio.Event(), asyncio.Event()

    async def answer(call: Call) -> AsyncIterator[str]:
        yield "one "
        await go.wait()
        for word in ("two ", "three"):
            yield word

    async with rig.daemon.client("worker") as client:
        async with client.serve_agent("lookup", answer) as serving:
            pieces: list[str] = []

            async def ask() -> None:
                async for piece in rig.client.stream("lookup", "count"):
                    pieces.append(piece)
                    heard.set()

            asking = asyncio.create_task(ask())
            async with asyncio.timeout(60):
                await heard.wait()
                (await client._conversation.link()).end()
                go.set()
                await asking

            assert serving.connects == 2
    assert "".join(pieces) == "one two three"


async def test_the_daemon_is_killed_and_the_worker_serves_the_next_one(rig: House) -> None:
    """The execution runs again after the start, and waits until the worker is back."""
    asked: list[str] = []
    first = asyncio.Event()

    async def answer(call: Call) -> str:
        asked.append(call.execution_id)
        if len(asked) == 1:
            first.set()
            await asyncio.Event().wait()
        return "after the crash"

    async with rig.daemon.client("worker") as client, client.serve_agent("lookup", answer) as serving:
        asking = asyncio.create_task(rig.client.send("lookup", "survive"))
        async with asyncio.timeout(60):
            await first.wait()
            await rig.daemon.kill()
            await rig.daemon.stop()
            await rig.daemon.start()
            answered = await asking
        assert answered.content == "after the crash"
        assert serving.connects == 2
        assert len(set(asked)) == 1
        await eventually(lambda: _is(serving.open_calls == 0))  # the first was called off by the daemon's refusal


async def test_a_chat_is_answered_by_a_worker(rig: House) -> None:
    async def answer(call: Call) -> str:
        return f"{call.channel} heard {call.text}"

    async with rig.daemon.client("worker") as client, client.serve_agent("lookup", answer):
        said = rig.network.say("ann", "ann", "hello", token="shop")

        assert await rig.hear("ann") == ["shop heard hello"]
        assert (await rig.story(said, "shop")).message.rule == "channels.shop.routing.default"


async def test_a_reload_that_takes_the_agent_away_lets_its_calls_end(rig: House) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def answer(call: Call) -> str:
        begun.set()
        await go.wait()
        return "still here"

    before = rig.daemon.config.read_text()
    async with rig.daemon.client("worker") as client, client.serve_agent("other", answer):
        asking = asyncio.create_task(rig.client.send("other", "x"))
        async with asyncio.timeout(60):
            await begun.wait()
            rig.daemon.write(before.replace("other: {remote: true}", "other: {model: offline/echo}"))
            await _reload(rig)
            go.set()
            assert (await asking).content == "still here"
        with pytest.raises(InvalidArgument, match=r"agents\.other\.remote is not set"):
            async with rig.daemon.client("late") as late:
                await late.serve_agent("other", answer).registered()
        assert (await rig.client.send("other", "model")).content == "model"
        rig.daemon.write(before)
        await _reload(rig)
        assert (await rig.client.send("other", "x")).content == "still here"


async def test_two_workers_share_and_a_session_stays_with_its_own(rig: House) -> None:
    taken: dict[str, Counter[str]] = {"a": Counter(), "b": Counter()}

    def serve(name: str) -> Callable[[Call], AsyncIterator[str]]:
        async def answer(call: Call) -> AsyncIterator[str]:
            taken[name][call.session_id] += 1
            yield name

        return answer

    async with rig.daemon.client("wa") as one, rig.daemon.client("wb") as two:
        async with one.serve_agent("lookup", serve("a")), two.serve_agent("lookup", serve("b")):
            assert await workers_of(rig, "lookup") == 2
            for number in range(20):
                async with rig.daemon.client(f"asker{number}") as asker:
                    first = await asker.send("lookup", "x")
                    second = await asker.send("lookup", "y")
                    assert first.content == second.content

    assert not set(taken["a"]) & set(taken["b"])
    assert len(taken["a"]) + len(taken["b"]) == 20
    assert taken["a"]
    assert taken["b"]


async def test_cancelling_the_execution_calls_the_worker_off(rig: House) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def answer(call: Call) -> str:
        begun.set()
        try:
            return await asyncio.Event().wait() or ""
        finally:
            ended.set()

    async with rig.daemon.client("worker") as client, client.serve_agent("lookup", answer) as serving:
        asking = rig.client.stream("lookup", "x")
        execution = await asking.accepted()
        async with asyncio.timeout(60):
            await begun.wait()
            await rig.client.cancel(execution)
            await ended.wait()
        with pytest.raises(ExecutionFailed, match="cancelled"):
            await asking.wait()
        await eventually(lambda: _is(serving.open_calls == 0))


async def test_an_answer_that_takes_too_long_is_called_off(rig: House) -> None:
    ended = asyncio.Event()

    async def answer(call: Call) -> str:
        assert 0 < call.timeout <= 1
        try:
            return await asyncio.Event().wait() or ""
        finally:
            ended.set()

    async with rig.daemon.client("worker") as client, client.serve_agent("quick", answer):
        with pytest.raises(ExecutionFailed, match="did not finish in time"):
            await rig.client.send("quick", "x")
        async with asyncio.timeout(60):
            await ended.wait()


async def test_without_a_worker_it_is_waited_for_and_then_told(tmp_path: Path) -> None:
    async with Daemon(tmp_path, SOON) as daemon, daemon.client() as client:
        with pytest.raises(Unavailable, match="The agent lookup is not available right now"):
            await client.send("lookup", "x")


async def test_a_worker_that_comes_in_time_answers_what_has_waited(rig: House) -> None:
    async def answer(call: Call) -> str:
        return "here"

    async with rig.daemon.client("worker") as client:
        asking = rig.client.stream("lookup", "x")
        await asking.accepted()
        async with client.serve_agent("lookup", answer):
            assert (await asking.wait()).content == "here"


async def test_stopping_answers_what_is_there_and_closing_gives_the_rest_to_another(rig: House) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(call: Call) -> str:
        begun.set()
        await go.wait()
        return "slow"

    async def other(call: Call) -> str:
        return "other"

    async with rig.daemon.client("one") as one:
        serving = one.serve_agent("lookup", slow)
        await serving.registered()
        asking = asyncio.create_task(rig.client.send("lookup", "x"))
        async with asyncio.timeout(60):
            await begun.wait()
            stopping = asyncio.create_task(serving.stop())
            await eventually(lambda: _no_workers(rig))
            go.set()
            await stopping
            assert (await asking).content == "slow"

        begun.clear()
        go.clear()
        serving = one.serve_agent("lookup", slow)
        await serving.registered()
        asking = asyncio.create_task(rig.client.send("lookup", "y"))
        async with asyncio.timeout(60):
            await begun.wait()
            async with rig.daemon.client("two") as two, two.serve_agent("lookup", other):
                await one.close()
                assert (await asking).content == "other"


async def test_who_may_not_serve_is_told_so(rig: House) -> None:
    async def answer(call: Call) -> str:
        return ""

    async with Client(f"127.0.0.1:{rig.daemon.port}", token=TOKEN, client_id="robot") as robot:
        with pytest.raises(PermissionDenied, match=r"agents\.register:lookup"):
            await robot.serve_agent("lookup", answer).registered()
        async with robot.serve_agent("other", answer):
            assert await workers_of(rig, "other") == 1
        with pytest.raises(TypeError, match="async"):
            robot.serve_agent("other", lambda call: "")  # type: ignore[arg-type,return-value]
    async with rig.daemon.client("worker") as client:
        with pytest.raises(NotFound, match="no agent 'nobody'"):
            await client.serve_agent("nobody", answer).wait()


async def test_a_stop_waits_for_the_worker_to_finish(tmp_path: Path) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def answer(call: Call) -> str:
        begun.set()
        await go.wait()
        return "in time"

    async with Daemon(tmp_path, "agents: {lookup: {remote: true}}\ngateway: {drain_timeout: 30s}") as daemon:
        async with daemon.client("asker") as asker, daemon.client("worker") as client:
            client.serve_agent("lookup", answer)
            asking = asyncio.create_task(asker.send("lookup", "x"))
            async with asyncio.timeout(60):
                await begun.wait()
                daemon.signal(signal.SIGTERM)
                await daemon.noticed("STOPPING=1")
                go.set()
                assert (await asking).content == "in time"
                assert await daemon.ended() == 0


async def test_a_worker_tells_of_the_executions_that_it_answers_and_of_no_other(rig: House) -> None:
    """As an agent inside the daemon does it: the event is the execution's, whoever's session that is."""
    refused: list[str] = []

    async with Client(f"127.0.0.1:{rig.daemon.port}", token=TOKEN, client_id="robot") as robot:

        async def answer(call: Call) -> str:
            data = {"tool_use_id": "t1", "tool_name": "look", "tool_input": {"order": 7}}
            await robot.publish(new_event("tool_call_started", data, execution_id=call.execution_id, session_id="mine"))
            for event in (
                new_event("tool_call_started", data, execution_id="of nobody"),
                new_event("execution_completed", {}, execution_id=call.execution_id),
                new_event("tool_call_started", data, execution_id=call.execution_id, target="robot"),
            ):
                with pytest.raises(PermissionDenied) as denied:
                    await robot.publish(event)
                refused.append(denied.value.message)
            return "told"

        data = {"tool_use_id": "t1", "tool_name": "look"}
        with pytest.raises(PermissionDenied):
            await robot.publish(new_event("tool_call_started", data, execution_id="x"))
        async with (
            robot.serve_agent("other", answer),
            rig.client.subscribe(event_filter(["tool_call_started"])) as told,
        ):
            asking = rig.client.stream("other", "x", correlation_id="c-1")
            execution = await asking.accepted()
            async with asyncio.timeout(60):
                event = await anext(told)
                assert (await asking.wait()).content == "told"

    assert (event.execution_id, event.source, event.stream_id) == (execution, "robot", "other")
    assert event.correlation_id == "c-1"
    assert event.session_id not in ("", "mine")
    assert event.tool_call_started.tool_input["order"] == 7
    assert len(refused) == 3


# Frames


async def test_a_reply_to_what_is_not_ones_own_is_refused_and_changes_nothing(rig: House) -> None:
    async with RawStream(rig.daemon.address) as mine, RawStream(rig.daemon.address) as other:
        await worker(mine, "mine")
        await other.hello("other")
        asking = asyncio.create_task(rig.client.send("lookup", "x"))
        call = (await mine.take("call")).call
        assert (call.text, call.agent, call.redelivered, call.offset) == ("x", "lookup", False, 0)

        for stream, frame in (
            (other, reply(call.call_id, "stolen", final=True)),
            (mine, reply("none", "invented", final=True)),
        ):
            assert reason_of(await stream.rejected(await stream.ask(frame))) == "NOT_FOUND"
        behind = await mine.rejected(await mine.ask(reply(call.call_id, "late", offset=3)))
        assert [one.field for one in behind.violations] == ["call_reply.offset"]
        for content, offset in (("abc", 0), ("bcd", 1), ("a", 0)):  # said again, in part: taken once
            await mine.accepted(await mine.ask(reply(call.call_id, content, offset=offset)))
        await mine.accepted(await mine.ask(reply(call.call_id, "e", final=True)))
        assert (await asking).content == "abcde"
        again = await mine.rejected(await mine.ask(reply(call.call_id, "more")))
        assert reason_of(again) == "NOT_FOUND"

        refused = await mine.rejected(await mine.ask(register("echo")))
        assert reason_of(refused) == "INVALID_ARGUMENT"
        assert reason_of(await mine.rejected(await mine.ask(register(max_concurrent=1001)))) == "INVALID_ARGUMENT"
        assert not (await mine.accepted(await mine.ask(_unregister("other")))).existed
        assert (await mine.accepted(await mine.ask(_unregister("lookup")))).existed


async def test_a_worker_speaks_json_over_a_websocket(rig: House) -> None:
    async with RawSocket(http_port(rig.daemon), token=rig.daemon.token) as raw:
        await worker(raw, history=True)
        asking = asyncio.create_task(rig.client.send("lookup", "Grüße"))
        call = (await raw.take("call")).call
        assert (call.text, call.principal, len(call.history) > 0) == ("Grüße", "local", True)
        await raw.accepted(await raw.ask(reply(call.call_id, "Zürich 🚚", offset=0)))
        await raw.accepted(await raw.ask(reply(call.call_id, "!", offset=8, final=True)))
        assert (await asking).content == "Zürich 🚚!"


async def test_a_worker_has_no_more_calls_than_it_takes(rig: House) -> None:
    async with RawStream(rig.daemon.address) as raw:
        await worker(raw, max_concurrent=1)
        async with rig.daemon.client("a") as a, rig.daemon.client("b") as b:
            asking = [a.stream("lookup", "a"), b.stream("lookup", "b")]
            for one in asking:
                await one.accepted()
            first = (await raw.take("call")).call
            for _ in range(2):  # whatever was on its way comes before the second pong
                await raw.ask(pb.ConnectRequest(ping=pb.Ping()))
                await raw.take("pong")
            assert not [frame for frame in raw._kept if frame.HasField("call")]
            await raw.accepted(await raw.ask(reply(first.call_id, "1", final=True)))
            second = (await raw.take("call")).call
            await raw.accepted(await raw.ask(reply(second.call_id, "2", final=True)))
            answers = {each.content for each in await asyncio.gather(*(one.wait() for one in asking))}
    assert {first.text, second.text} == {"a", "b"}
    assert answers == {"1", "2"}


async def test_a_worker_that_resumes_is_told_again_and_one_that_does_not_has_let_go(rig: House) -> None:
    async with RawStream(rig.daemon.address) as raw:
        token = (await worker(raw, "w")).resume_token
        asking = asyncio.create_task(rig.client.send("lookup", "x"))
        call = (await raw.take("call")).call
        await raw.accepted(await raw.ask(reply(call.call_id, "ab")))
    async with RawStream(rig.daemon.address) as raw:
        assert (await raw.hello("w", token)).resumed
        assert reason_of(await raw.rejected(await raw.ask(reply(call.call_id, "c")))) == "NOT_FOUND"
        assert (await raw.accepted(await raw.ask(register()))).count == 1
        told = (await raw.take("call")).call
        assert (told.call_id, told.redelivered, told.offset) == (call.call_id, True, 2)
        await raw.accepted(await raw.ask(reply(call.call_id, "c", offset=2, final=True)))
        assert (await asking).content == "abc"

        said = asyncio.create_task(rig.client.send("lookup", "said"))
        first = (await raw.take("call")).call
        await raw.accepted(await raw.ask(reply(first.call_id, "begun")))
        async with rig.daemon.client("silent") as client:
            silent = asyncio.create_task(client.send("lookup", "silent"))
            second = (await raw.take("call")).call
            await raw.cut()
            async with RawStream(rig.daemon.address) as fresh:
                await worker(fresh, "w")
                with pytest.raises(Unavailable, match="cut off"):
                    await said
                retold = (await fresh.take("call")).call
                assert (retold.call_id, retold.text, retold.redelivered) == (second.call_id, "silent", False)
                await fresh.accepted(await fresh.ask(reply(retold.call_id, "done", final=True)))
                assert (await silent).content == "done"


async def test_a_worker_that_stays_away_loses_its_calls(tmp_path: Path) -> None:
    async with Daemon(tmp_path, SOON) as daemon, daemon.client() as client:
        async with RawStream(daemon.address) as raw:
            await worker(raw, "w")
            asking = asyncio.create_task(client.send("lookup", "x"))
            await raw.take("call")
        with pytest.raises(Unavailable, match="The agent lookup was cut off"):
            await asking


async def test_an_answer_without_end_fails(rig: House) -> None:
    async with RawStream(rig.daemon.address) as raw:
        await worker(raw)
        asking = asyncio.create_task(rig.client.send("lookup", "x"))
        call = (await raw.take("call")).call
        megabyte = "x" * (1 << 20)
        for _ in range(2):
            await raw.accepted(await raw.ask(reply(call.call_id, megabyte)))
        assert reason_of(await raw.rejected(await raw.ask(reply(call.call_id, "x")))) == "LIMIT_EXCEEDED"
        assert (await raw.take("cancel_call")).cancel_call.call_id == call.call_id
        with pytest.raises(ExecutionFailed, match="The answer is too long"):
            await asking


async def test_workers_are_told_of_as_events_of_the_agents_stream(rig: House) -> None:
    start = await rig.client.call("EventService/GetEventStats", pb.GetEventStatsRequest(), pb.GetEventStatsResponse)
    async with RawStream(rig.daemon.address) as raw:
        await worker(raw, "told", "other")
    events = event_filter(["connect", "disconnect"], stream_id="other")
    subscription = rig.client.subscribe(events, since=start.cursor)
    async with asyncio.timeout(60):
        came = [await anext(subscription) for _ in range(2)]
    assert [(one.connect.client_id, one.connect.kind) for one in came[:1]] == [("told", "worker")]
    assert (came[1].disconnect.client_id, came[1].disconnect.reason) == ("told", "connection_lost")


def _unregister(agent: str) -> pb.ConnectRequest:
    return pb.ConnectRequest(unregister_agent=pb.UnregisterAgent(agent=agent))


async def _reload(rig: House) -> None:
    request = admin_service_pb2.ReloadConfigRequest()
    await rig.client.call("AdminService/ReloadConfig", request, admin_service_pb2.ReloadConfigResponse)


async def _is(said: bool) -> bool:
    return said


async def _no_workers(rig: House) -> bool:
    return await workers_of(rig, "lookup") == 0
