"""Entry points are called: what comes back, keys, scopes, cancelling, and what gatewayctl makes of it."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from gateway.v1 import runtime_service_pb2 as pb

from gatewayctl.client import (
    Client,
    Conflict,
    GatewayError,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    PermissionDenied,
)
from tests.rigs.entry_points import entry_points, execution, execution_is, state_name
from tests.rigs.house import House, house, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKENS = {"robot": "gw_robot_" + "0" * 43, "quick": "gw_quick_" + "1" * 43}
DIGESTS = {name: hashlib.sha256(token.encode()).hexdigest() for name, token in TOKENS.items()}
CONFIG = f"""
agents:
  echo: {{model: offline/echo}}
  slow: {{model: offline/slow}}
  broken: {{model: offline/fail}}
provider: {{retries: 0}}
gateway: {{limits: {{send_rate: 50}}}}
entry_points:
  ask: {{agent: echo, name: Ask it, priority: 3}}
  wait: {{agent: slow, trigger_type: manual, max_concurrent: 2}}
  fail: {{agent: broken}}
  asleep: {{agent: slow}}
clients:
  robot: {{token_sha256: {DIGESTS["robot"]}, scopes: ["runtime:as*"]}}
  quick: {{token_sha256: {DIGESTS["quick"]}, scopes: ["runtime:*"]}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("entry_points"), CONFIG) as rig:
        yield rig


def client(rig: House, name: str) -> Client:
    return Client(f"127.0.0.1:{rig.daemon.port}", token=TOKENS[name], client_id=name, connect_timeout=60)


async def test_a_trigger_returns_at_once_and_its_execution_is_work_like_any_other(rig: House) -> None:
    """An id, an execution with a story, events on the stream of the entry point, correlated by its own id (P5.8)."""
    started = await rig.client.trigger("ask", "hello there")

    done = await execution_is(rig, started.execution_id, "succeeded")
    assert (done.output, done.agent, done.entry_point, done.stream_id) == ("hello there", "echo", "ask", "ask")
    assert (done.session_id, done.correlation_id) == ("", started.execution_id)
    story = await rig.story(started.message_id)
    assert (state_of(story), story.message.rule) == ("answered", "entry_points.ask.agent")
    events = await rig.events(stream_id="ask", execution_id=started.execution_id)
    kinds = [event.WhichOneof("data") for event in events]
    assert kinds == ["execution_queued", "execution_started", "execution_completed"]


async def test_the_result_can_be_waited_for(rig: House) -> None:
    """The agent reads the JSON of an object; no input is an empty one; a chosen correlation id is kept."""
    text = await rig.client.trigger_and_wait("ask", "words", correlation_id="order-7")
    found = await rig.client.trigger_and_wait("ask", {"b": [1, 2.5], "a": "é"})
    nothing = await rig.client.trigger_and_wait("ask")

    assert (text.state, text.output, text.timed_out) == ("succeeded", "words", False)
    assert (await execution(rig, text.execution_id)).correlation_id == "order-7"
    assert found.output == '{"a": "é", "b": [1, 2.5]}'
    assert nothing.output == "{}"


async def test_a_failure_is_a_result(rig: House) -> None:
    """FAILED with a sentence for people, and no error of the call."""
    result = await rig.client.trigger_and_wait("fail", "please")

    assert result.state == "failed"
    assert "not available" in result.error
    assert not result.timed_out


async def test_a_wait_that_is_too_short_says_so_and_the_execution_goes_on(rig: House) -> None:
    """TIMED_OUT with the id; the same key waits for the rest (P6.2)."""
    early = await rig.client.trigger_and_wait("wait", "600ms two words", idempotency_key="late", timeout=0.05)
    rest = await rig.client.trigger_and_wait("wait", "600ms two words", idempotency_key="late")
    again = await rig.client.trigger_and_wait("wait", "600ms two words", idempotency_key="late")

    assert early.timed_out
    assert early.state in ("queued", "running")
    assert (rest.execution_id, rest.output, rest.timed_out) == (early.execution_id, "two words", False)
    assert (again.execution_id, again.output, again.duplicate) == (early.execution_id, "two words", True)


async def test_one_key_starts_one_execution(rig: House) -> None:
    """The same content gives the first outcome, also to many at once; other content is ID_CONFLICT."""
    many = await asyncio.gather(*(rig.client.trigger("ask", {"n": 1}, idempotency_key="k1") for _ in range(5)))

    assert len({one.execution_id for one in many}) == 1
    assert sum(not one.duplicate for one in many) == 1
    for entry_point, given in (("ask", {"n": 2}), ("wait", {"n": 1})):
        with pytest.raises(Conflict) as refused:
            await rig.client.trigger(entry_point, given, idempotency_key="k1")
        assert refused.value.reason == "ID_CONFLICT"


async def test_what_cannot_be_started_is_refused(rig: House) -> None:
    """An unknown entry point has a reason of its own; a blank input and a missing id name the field."""
    with pytest.raises(NotFound) as unknown:
        await rig.client.trigger("nowhere", "hello")
    with pytest.raises(InvalidArgument, match="blank"):
        await rig.client.trigger("ask", " \n")
    with pytest.raises(InvalidArgument, match="required"):
        await rig.client.trigger("", "hello")

    assert unknown.value.reason == "ENTRY_POINT_NOT_FOUND"
    assert "ask, asleep, fail, wait" in str(unknown.value)


async def test_a_client_starts_and_sees_what_its_scope_names(rig: House) -> None:
    """runtime:NAMES holds for each call; its own executions can be read and cancelled, those of others not."""
    theirs = await rig.client.trigger("ask", "of the operator")
    async with client(rig, "robot") as robot:
        mine = await robot.trigger_and_wait("ask", "of the robot")
        long = await robot.trigger("asleep", "30s never")
        request = pb.CancelExecutionRequest(execution_id=long.execution_id)
        await robot.call("RuntimeService/CancelExecution", request, pb.CancelExecutionResponse)
        with pytest.raises(PermissionDenied):
            await robot.trigger("wait", "30s no")
        listed = await robot.call(
            "RuntimeService/ListEntryPoints", pb.ListEntryPointsRequest(), pb.ListEntryPointsResponse
        )
        seen = await robot.call("RuntimeService/ListExecutions", pb.ListExecutionsRequest(), pb.ListExecutionsResponse)
        for method, request, answer in (
            ("GetExecution", pb.GetExecutionRequest(execution_id=theirs.execution_id), pb.GetExecutionResponse),
            (
                "CancelExecution",
                pb.CancelExecutionRequest(execution_id=theirs.execution_id),
                pb.CancelExecutionResponse,
            ),
        ):
            with pytest.raises(NotFound):
                await robot.call(f"RuntimeService/{method}", request, answer)
        with pytest.raises(PermissionDenied):
            await robot.call("RuntimeService/GetRuntimeStats", pb.GetRuntimeStatsRequest(), pb.GetRuntimeStatsResponse)

    assert mine.output == "of the robot"
    assert [one.id for one in listed.entry_points] == ["ask", "asleep"]
    assert [one.id for one in seen.executions] == [long.execution_id, mine.execution_id]
    assert state_name(seen.executions[0]) == "cancelled"


async def test_starting_too_fast_is_refused_with_a_delay(rig: House) -> None:
    """gateway.limits.send_rate holds for whatever starts an agent."""
    async with client(rig, "quick") as quick:
        many = await asyncio.gather(*(quick.trigger("ask", "again") for _ in range(200)), return_exceptions=True)

    refused = [one for one in many if isinstance(one, LimitExceeded)]
    assert refused
    assert all(one.retry_after for one in refused)


async def test_what_runs_and_what_waits_is_cancelled_and_every_waiter_wakes(rig: House) -> None:
    """max_concurrent lets two run; the third waits; all are cancelled, and whoever waits learns it."""
    ids, tasks = [], []
    for number in range(3):  # one after the other: the first two are to run
        key = f"c{number}"
        ids.append((await rig.client.trigger("wait", f"30s never {number}", idempotency_key=key)).execution_id)
        waiter = rig.client.trigger_and_wait("wait", f"30s never {number}", idempotency_key=key)
        tasks.append(asyncio.create_task(waiter))
    states = []
    for one in ids[:2]:
        states.append(state_name(await execution_is(rig, one, "running")))
    waiting = (await entry_points(rig))["wait"]

    assert state_name(await execution(rig, ids[2])) == "queued"
    assert (waiting.running, waiting.queued) == (2, 1)
    for one in reversed(ids):
        await rig.client.cancel(one)
    results = await asyncio.gather(*tasks)
    assert {result.state for result in results} == {"cancelled"}
    assert all("cancelled by local" in result.error for result in results)
    with pytest.raises(GatewayError) as refused:
        await rig.client.cancel(ids[0])
    assert refused.value.reason == "EXECUTION_FINISHED"


async def test_the_entry_points_and_their_figures_can_be_read(rig: House) -> None:
    """What is configured, and what runs, waits and has ended."""
    await rig.client.trigger_and_wait("ask", "counted")
    listed = await entry_points(rig)
    stats = await rig.client.call(
        "RuntimeService/GetRuntimeStats", pb.GetRuntimeStatsRequest(), pb.GetRuntimeStatsResponse
    )

    assert sorted(listed) == ["ask", "asleep", "fail", "wait"]
    ask = listed["ask"]
    assert (ask.name, ask.agent, ask.priority, ask.max_concurrent) == ("Ask it", "echo", 3, 10)
    assert (ask.trigger, listed["wait"].trigger) == (pb.TRIGGER_KIND_API, pb.TRIGGER_KIND_MANUAL)
    assert (stats.running, stats.entry_points, stats.limit) == (True, 4, 100)
    assert {one.id: one.executions["succeeded"] for one in stats.by_entry_point}["ask"] >= 1


async def test_gatewayctl_starts_waits_and_watches(rig: House) -> None:
    """The id at once; with --wait the output and the exit code; a wait that is too short names the execution."""
    code, out, _ = await rig.daemon.ctl("-o", "json", "trigger", "ask", "--input", '{"a": 1}', "--key", "ctl")
    first = json.loads(out)["execution_id"]
    again = await rig.daemon.ctl("trigger", "ask", "--input", '{"a": 1}', "--key", "ctl")
    waited = await rig.daemon.ctl("trigger", "ask", "--input", '{"a": 1}', "--key", "ctl", "--wait")
    watched = await rig.daemon.ctl("executions", "watch", first)
    failed = await rig.daemon.ctl("trigger", "fail", "--input", "-", "--wait", stdin="please")
    late = await rig.daemon.ctl("trigger", "wait", "--input", "20s x y", "--wait", "--timeout", "0.3")
    unknown = await rig.daemon.ctl("trigger", "nowhere")
    listed = await rig.daemon.ctl("entry-points")
    stats = await rig.daemon.ctl("entry-points", "stats")
    theirs = json.loads((await rig.daemon.ctl("-o", "json", "executions", "--entry-point", "fail"))[1])

    assert code == 0
    assert (again[0], again[1]) == (0, f"{first}\n")
    assert "started before" in again[2]
    assert (waited[0], waited[1]) == (0, '{"a": 1}\n')
    assert watched[0] == 0
    assert first in watched[1]
    assert failed[0] == 1
    assert "not available" in failed[2]
    assert late[0] == 1
    assert "goes on" in late[2]
    assert "is running" in late[2]
    assert unknown[0] == 4
    assert listed[0] == 0
    assert "Ask it" in listed[1]
    assert {one["entry_point"] for one in theirs} == {"fail"}
    assert (stats[0], "takes work" in stats[1]) == (0, True)
    running = next(word for word in late[2].split() if len(word) == 26)
    assert (await rig.daemon.ctl("executions", "cancel", running))[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--input", "{nonsense"], "is no JSON"),
        (["--input", " "], "blank"),
    ],
)
async def test_gatewayctl_refuses_an_input_that_is_none(rig: House, words: list[str], said: str) -> None:
    """Usage errors are told before anything is asked of the daemon."""
    code, _, err = await rig.daemon.ctl("trigger", "ask", *words)

    assert code == 2
    assert said in err


@pytest.mark.parametrize("levels", [33, 40, 2000])
async def test_an_input_that_is_too_deep_is_refused_with_what_to_do(rig: House, levels: int) -> None:
    """By the client, which could not write it; the deepest that is allowed is taken."""
    words = ["trigger", "ask", "--input", '{"a": ' * levels + "1" + "}" * levels]
    allowed = await rig.daemon.ctl("trigger", "ask", "--input", '{"a": ' * 32 + "1" + "}" * 32, "--wait")
    refused = await rig.daemon.ctl(*words)
    waited = await rig.daemon.ctl(*words, "--wait")

    assert allowed[0] == 0
    assert (refused[0], waited[0]) == (2, 2)
    for _, _, err in (refused, waited):
        assert ": nested deeper than 32 objects and lists; make it flatter" in err


@pytest.mark.parametrize("levels", [33, 40])
async def test_a_call_with_an_input_that_is_too_deep_is_told_where(rig: House, levels: int) -> None:
    """Of any client, whether it is the check or the decoder that notices."""
    value: dict[str, object] = {"a": 1}
    for _ in range(levels - 1):
        value = {"a": value}
    request = pb.TriggerRequest(entry_point="ask")
    request.json.update(value)

    with pytest.raises(InvalidArgument, match="make it flatter") as refused:
        await rig.client.call("RuntimeService/Trigger", request, pb.TriggerResponse)

    assert [field for field, _ in refused.value.violations] == ["json"]
