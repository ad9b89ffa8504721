"""One question, one answer."""

import asyncio
from types import SimpleNamespace

import grpc
import pytest
from gateway.v1 import agent_service_pb2 as pb
from gateway.v1 import execution_pb2
from google.protobuf.duration_pb2 import Duration
from rpc_rig import Aborted, FakeCall

from gatewayd.access.principals import LostProof
from gatewayd.config.checking import read
from gatewayd.config.model import GatewayConfig
from gatewayd.core.checkpoint import Question
from gatewayd.core.errors import DeadlineExceeded, ExecutionFailed
from gatewayd.core.frames import Reply
from gatewayd.core.work import ExecutionState
from gatewayd.storage.records import Accepted
from gatewayd.testing.store_cases import samples


class OneAnswer:
    """Stands in for `Sends`: accepts everything as one execution, and gives one reply."""

    def __init__(self, *, error=None, live=True, asks=None):
        self.sent, self.callers = [], []
        self._error, self._live, self._asks = error, live, asks

    async def submit(self, send, caller):
        self.sent.append(send)
        self.callers.append(caller)
        live = SimpleNamespace(execution=samples.execution(1)) if self._live else None
        return SimpleNamespace(accepted=Accepted("m0001", "x0001", not self._live), live=live), None

    async def question(self, _waiting, _live):
        return self._asks

    async def reply(self, _waiting, _put, _live):
        return Reply("", "x0001", "m0001", "hi", final=True, state=ExecutionState.SUCCEEDED, error=self._error)


async def ask(rig, call=None, **request):
    request = {"agent": "helper", "text": "hello"} | request
    return await rig.agents.SendMessage(pb.SendMessageRequest(**request), call or FakeCall("ann"))


@pytest.mark.parametrize("live", [True, False])
async def test_the_answer_says_all_about_its_execution(rig, live):
    await rig.work(1)
    rig.sends = OneAnswer(live=live)
    answer = await ask(rig)
    told = {field.name for field, _ in answer.ListFields()}
    assert told == {field.name for field in answer.DESCRIPTOR.fields} - {"prompt", "node_id"}
    assert (answer.execution_id, answer.session_id, answer.agent, answer.content) == ("x0001", "s1", "helper", "hi")
    assert answer.state == execution_pb2.EXECUTION_STATE_SUCCEEDED
    (caller,) = rig.sends.callers
    assert (caller.principal.id, caller.client_id) == ("ann", "")


@pytest.mark.parametrize("until_asked", [True, False])
async def test_what_it_asks_is_told_to_whoever_wants_to_know(rig, until_asked):
    rig.sends = OneAnswer(asks=Question("x0001", "ask", "Which?", 0.0))
    answer = await ask(rig, until_asked=until_asked)
    if until_asked:
        assert (answer.state, answer.content) == (execution_pb2.EXECUTION_STATE_INPUT_REQUIRED, "")
        assert (answer.execution_id, answer.prompt, answer.node_id) == ("x0001", "Which?", "ask")
    else:
        assert (answer.state, answer.content) == (execution_pb2.EXECUTION_STATE_SUCCEEDED, "hi")
        assert (answer.prompt, answer.node_id) == ("", "")


@pytest.mark.parametrize("error", [ExecutionFailed("no"), DeadlineExceeded("late", metadata={"execution_id": "x0001"})])
async def test_what_went_wrong_is_the_status(rig, error):
    rig.sends = OneAnswer(error=error)
    with pytest.raises(Aborted) as caught:
        await ask(rig)
    assert caught.value.reason == error.reason
    assert dict(caught.value.info.metadata) == error.metadata


@pytest.mark.parametrize(
    ("timeout", "left", "seconds"),
    [(None, None, 0.0), (3, None, 3.0), (3, 100.0, 3.0), (None, 10.0, 9.5), (30, 10.0, 9.5), (0, None, 0.0)],
)
async def test_the_shorter_of_timeout_and_deadline_holds(rig, timeout, left, seconds):
    rig.sends = OneAnswer()
    fields = {} if timeout is None else {"timeout": Duration(seconds=timeout)}
    await ask(rig, FakeCall("ann", left), **fields)
    assert rig.sends.sent[0].timeout == pytest.approx(seconds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"agent": ""},
        {"channel": "tg"},
        {"text": " \n"},
        {"context": 9},
        {"idempotency_key": "x" * 257},
        {"timeout": Duration(seconds=-1)},
    ],
)
async def test_a_wrong_request_sends_nothing(rig, wrong):
    rig.sends = OneAnswer()
    with pytest.raises(Aborted) as caught:
        await ask(rig, **wrong)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert not rig.sends.sent


async def test_the_send_rate_holds_here_too(rig):
    rig.router.config = read(GatewayConfig, {"gateway": {"limits": {"send_rate": 1}}})
    rig.sends = OneAnswer()
    await ask(rig)
    with pytest.raises(Aborted) as caught:
        await ask(rig)
    assert caught.value.info.metadata["limit"] == "limits.send_rate"
    await ask(rig, FakeCall("bob"))


async def test_F61_a_worker_that_asks_waits_no_longer_than_its_token_is_good(rig):
    begun = asyncio.Event()

    async def ask(_send, _call, _patience):
        begun.set()
        await asyncio.Event().wait()

    service = rig.agents
    service._speaking = SimpleNamespace(begin=lambda *_: None, ask=ask)
    request = pb.SendMessageRequest(agent="echo", text="hello", call_id="c1", client_id="worker")
    waiting = asyncio.create_task(service.SendMessage(request, FakeCall("ann")))
    async with asyncio.timeout(60):
        await begun.wait()
        rig.gate.waits.end_lost(LostProof(frozenset({"digest of ann"})))
        with pytest.raises(Aborted) as ended:
            await waiting
    assert ended.value.reason == "UNAUTHENTICATED"
