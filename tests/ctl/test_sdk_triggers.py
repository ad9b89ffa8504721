"""The SDK starts entry points on its stream: over cuts, with what became of them, and by calls to an older daemon."""

import asyncio

import grpc
import pytest
from gateway.v1 import error_pb2, execution_pb2, runtime_service_pb2
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import Client, ClientClosed, DeadlineExceeded, NotFound
from gatewayctl.sdk import asked
from gatewayctl.system import SystemClock
from tests.ctl.fake_gateway import FakeGateway, Refusal
from tests.ctl.sdk_rig import client_of

pytestmark = pytest.mark.usefixtures("quiet_environment")

SUCCEEDED = pb.Reply(state=execution_pb2.EXECUTION_STATE_SUCCEEDED, content="done")


@pytest.fixture
def daemon(gateway: FakeGateway) -> FakeGateway:
    gateway.features = ("trigger",)
    gateway.answers["trigger"] = SUCCEEDED
    return gateway


def refused(code: grpc.StatusCode, reason: str, message: str) -> error_pb2.Error:
    return Refusal(code, reason, message).frame()


@pytest.mark.parametrize("point", ["got_trigger", "trigger_stored", "trigger_accepted"])
async def test_what_was_triggered_survives_a_cut_and_runs_once(daemon: FakeGateway, point: str) -> None:
    """It is asked for again under the key that was made up for it; for the caller it is no repeat."""
    daemon.cuts[point] = 1
    async with client_of(daemon) as client:
        result = await client.trigger_and_wait("report", "now")

    assert len(daemon.hellos) == 2
    assert [f"x-{key}" for key in daemon.runs] == [result.execution_id]
    assert (result.state, result.output, result.timed_out, result.duplicate) == ("succeeded", "done", False, False)


@pytest.mark.parametrize("point", ["got_trigger", "trigger_stored"])
async def test_what_is_not_waited_for_survives_a_cut_too(daemon: FakeGateway, point: str) -> None:
    daemon.cuts[point] = 1
    async with client_of(daemon) as client:
        first = await client.trigger("report", {"day": 1})
        second = await client.trigger("report", {"day": 1})

    assert [f"x-{key}" for key in daemon.runs] == [first.execution_id, second.execution_id]
    assert (first.message_id, first.duplicate, second.duplicate) == (f"m-{daemon.runs[0]}", False, False)


async def test_a_key_of_the_callers_own_tells_a_repeat(daemon: FakeGateway) -> None:
    """Also when the first word of it came before a cut: what the daemon said first holds."""
    async with client_of(daemon) as client:
        started = await client.trigger("report", idempotency_key="k")
        again = await client.trigger("report", idempotency_key="k")
        daemon.cuts["trigger_accepted"] = 1
        other = await client.trigger_and_wait("report", idempotency_key="other")
        result = await client.trigger_and_wait("report", idempotency_key="k")

    assert [started.duplicate, again.duplicate, other.duplicate, result.duplicate] == [False, True, False, True]
    assert daemon.runs == ["k", "other"]


@pytest.mark.parametrize(
    ("reply", "state", "output", "error", "timed_out"),
    [
        (SUCCEEDED, "succeeded", "done", "", False),
        (
            pb.Reply(
                state=execution_pb2.EXECUTION_STATE_FAILED,
                content="half",
                error=refused(grpc.StatusCode.ABORTED, "EXECUTION_FAILED", "it broke"),
            ),
            "failed",
            "",
            "it broke",
            False,
        ),
        (
            pb.Reply(
                state=execution_pb2.EXECUTION_STATE_CANCELLED,
                content="half",
                reason="by ann",
                error=refused(grpc.StatusCode.CANCELLED, "CANCELLED", "by ann"),
            ),
            "cancelled",
            "",
            "by ann",
            False,
        ),
        (
            pb.Reply(
                state=execution_pb2.EXECUTION_STATE_PAUSED,
                reason="for lunch",
                error=refused(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "no reply in time"),
            ),
            "paused",
            "",
            "for lunch",
            True,
        ),
    ],
)
async def test_the_result_is_what_the_last_reply_tells(
    daemon: FakeGateway, reply: pb.Reply, state: str, output: str, error: str, timed_out: bool
) -> None:
    daemon.answers["trigger"] = reply
    async with client_of(daemon) as client:
        result = await client.trigger_and_wait("report", timeout=60)

    assert (result.state, result.output, result.error, result.timed_out) == (state, output, error, timed_out)


async def test_a_reply_that_tells_of_no_execution_is_an_error(daemon: FakeGateway) -> None:
    daemon.answers["trigger"] = pb.Reply(error=refused(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "no longer kept"))
    async with client_of(daemon) as client:
        with pytest.raises(NotFound, match="no longer kept"):
            await client.trigger_and_wait("report")


async def test_a_daemon_that_says_nothing_is_not_waited_for_for_ever(
    daemon: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "GRACE", 0.05)
    daemon.answer_gate.clear()
    async with asyncio.timeout(60), client_of(daemon) as client:
        with pytest.raises(DeadlineExceeded, match="no answer in time"):
            await client.trigger_and_wait("report", idempotency_key="k", timeout=0.05)


class Silent:
    """A conversation with a daemon that accepts what it is asked, and never answers it."""

    async def link(self) -> "Silent":
        return self

    def new_id(self) -> str:
        return "1.1"

    def expect_replies(self, _request_id: str, _on_reply: object) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    async def request(self, _frame: pb.ConnectRequest) -> pb.Accepted:
        return pb.Accepted(execution_id="x", message_id="m")

    def forget(self, _request_id: str) -> None: ...


async def test_what_was_accepted_and_is_late_names_its_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "GRACE", 0.01)
    frame = pb.ConnectRequest(trigger=pb.Trigger(entry_point="report"))
    one = asked.Asked(Silent(), frame, SystemClock(), 0.01)  # type: ignore[arg-type]
    async with asyncio.timeout(60):
        with pytest.raises(TimeoutError):
            await one.replies(lambda _reply: None)

    assert one.late().metadata == {"execution_id": "x"}


async def test_an_older_daemon_is_asked_by_single_calls(gateway: FakeGateway) -> None:
    execution = execution_pb2.Execution(id="x1", state=execution_pb2.EXECUTION_STATE_SUCCEEDED, output="done")
    started = runtime_service_pb2.TriggerResponse(execution_id="x1", message_id="m1")
    ended = runtime_service_pb2.TriggerAndWaitResponse(
        outcome=runtime_service_pb2.TRIGGER_OUTCOME_ENDED, execution=execution
    )
    gateway.answers = {"RuntimeService/Trigger": started, "RuntimeService/TriggerAndWait": ended}
    async with client_of(gateway) as client:
        assert (await client.trigger("report")).execution_id == "x1"
        assert (await client.trigger_and_wait("report")).output == "done"

    assert [name for name, _ in gateway.requests] == ["RuntimeService/Trigger", "RuntimeService/TriggerAndWait"]


async def test_a_client_that_is_closed_starts_nothing(daemon: FakeGateway) -> None:
    client = Client(daemon.address)
    with pytest.raises(ClientClosed):
        await client.trigger("report")
    with pytest.raises(ClientClosed):
        await client.trigger_and_wait("report")
