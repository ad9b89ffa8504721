"""What a worker is told of what it says: when its run says nothing more, and when the other agent fails."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gatewayd.access.rates import Rates
from gatewayd.agents.base import Suspended, Turn
from gatewayd.agents.calls import OpenCall, Pool
from gatewayd.agents.registry import AgentRegistry
from gatewayd.conversation.speaking import Speaking
from gatewayd.core.errors import Cancelled, ExecutionFailed
from gatewayd.core.frames import Accepted, Reply, Send
from gatewayd.core.workers import PublishMessage


class Clumsy:
    """The context of an execution that asks an agent whose code is wrong."""

    async def send(self, *_: object, **__: object) -> None:
        raise RuntimeError("secret inside")


class Resting:
    """The context of an execution that has left, to come back later."""

    async def send(self, *_: object, **__: object) -> None:
        raise Suspended

    async def publish(self, *_: object) -> int:
        raise Suspended


def within(context: object) -> tuple[Speaking, OpenCall]:
    agents = cast(AgentRegistry, SimpleNamespace(get=lambda _agent: SimpleNamespace(timeout=9.0)))
    call = OpenCall("c", Pool("a"), Turn("go", "s", "ann"), "x1", since=0.0, limit=9.0)
    call.context = cast(Any, context)
    return Speaking(agents=agents, heard=lambda _topic: (), rates=cast(Rates, None)), call


async def test_who_asks_for_an_execution_that_rests_is_told() -> None:
    speaking, call = within(Resting())
    said: list[Accepted | Reply] = []
    await speaking.answer(Send("r", "how?", agent="b", call_id="c"), call, said.append)
    accepted, reply = said
    assert isinstance(accepted, Accepted)
    assert isinstance(reply, Reply)
    assert isinstance(reply.error, Cancelled)
    assert not call.asking


async def test_who_publishes_for_an_execution_that_rests_is_told() -> None:
    speaking, call = within(Resting())
    with pytest.raises(Cancelled):
        await speaking.publish(PublishMessage("r", "c", "news", "x"), call)


async def test_an_agent_whose_code_fails_is_no_defect_of_the_gateway() -> None:
    speaking, call = within(Clumsy())
    said: list[Accepted | Reply] = []
    await speaking.answer(Send("r", "how?", agent="b", call_id="c"), call, said.append)
    reply = said[-1]
    assert isinstance(reply, Reply)
    assert isinstance(reply.error, ExecutionFailed)
    assert "secret" not in reply.error.message


async def test_nothing_is_asked_once_the_call_is_over() -> None:
    speaking, call = within(Resting())
    call.close()
    with pytest.raises(Cancelled, match="has ended"):
        await speaking.ask(Send("r", "how?", agent="b", call_id="c"), call)
