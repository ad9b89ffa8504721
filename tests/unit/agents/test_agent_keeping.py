"""What workers put down of their calls: kept by the execution's context, once, and refused to everybody else."""

from collections.abc import Mapping
from typing import Any, Literal, NoReturn

import pytest
from keeping_rig import Begun, Run
from workers_rig import Program

from gatewayd.agents.base import AgentFailed, Suspended
from gatewayd.agents.keeping import MAX_CALL
from gatewayd.core.errors import IdConflict, InvalidArgument, LimitExceeded, NotFound
from gatewayd.core.event import EventType
from gatewayd.testing.fakes import FakeClock, FakeContext


class Telling(FakeContext):
    """Notes what its run had said at each checkpoint."""

    run: Run
    texts: list[str]

    async def checkpoint(
        self, state: Mapping[str, Any], *, node_id: str = "", at: Literal["start", "complete"] = "complete"
    ) -> None:
        self.texts.append(self.run.said)
        await FakeContext.checkpoint(self, state, node_id=node_id, at=at)


async def test_a_checkpoint_stands_behind_the_text_that_was_said_before() -> None:
    ctx = Telling(FakeClock())
    begun = Begun(ctx)
    ctx.run, ctx.texts = begun.run, []
    call = await begun.call()
    begun.program.say(call, "ab")
    begun.program.say(call, "c")
    assert not await begun.program.keep(call, '{"n": 1}', node_id="s", at="start")
    begun.program.say(call, "d", final=True)
    await begun.run.task

    assert (ctx.texts, begun.run.said) == (["abc"], "abcd")
    assert ctx.checkpoints == [("s", "start", {"n": 1})]


@pytest.mark.parametrize("waits", [True, False])
async def test_an_execution_that_leaves_ends_the_call_without_an_answer(*, waits: bool) -> None:
    begun = Begun()
    begun.ctx.pausing = True
    call = await begun.call()
    begun.program.say(call, "so far")
    wait, keep = begun.program.wait, begun.program.keep
    left = wait(call, "Who?", '{"n": 1}', node_id="ask") if waits else keep(call, '{"n": 1}', node_id="ask")

    assert await left
    with pytest.raises(Suspended):
        await begun.run.task
    assert begun.ctx.checkpoints == [("ask", "wait" if waits else "complete", {"n": 1})]
    assert (EventType.CLIENT_INPUT_REQUESTED, {"prompt": "Who?"}) in begun.ctx.emitted or not waits
    assert begun.program.cancelled == [], "the answer to what it put down has told it"
    assert begun.is_over
    for late in (begun.program.say, lambda one: begun.program.keep(one, "{}")):
        with pytest.raises(NotFound):
            late(call)


async def test_what_it_came_back_with_is_told_and_input_until_the_next_checkpoint() -> None:
    begun = Begun(FakeContext(FakeClock(), resumed={"n": 1, "é": [2**70]}, inputs={"ask": "Ann"}))
    call = await begun.call()
    told = begun.program.calls[call]
    assert (told.state, told.inputs) == ('{"n": 1, "é": [1180591620717411303424]}', {"ask": "Ann"})

    await begun.program.keep(call, '{"n":2}')
    begun.program.lose()
    assert begun.program.register() == 1
    again = begun.program.calls[call]
    assert (again.state, again.inputs, again.redelivered) == ('{"n":2}', {}, True)


async def test_one_that_is_said_again_is_the_same() -> None:
    """While it is on its way, when it is on disk, and over another connection."""
    begun = Begun()
    call = await begun.call()
    program = begun.program

    first = program.keep(call, '{"n": 1}', idempotency_key="k1")
    assert program.keep(call, '{"n": 1}', idempotency_key="k1") is first
    program.lose()
    program.register()
    again = program.keep(call, '{"n": 1}', idempotency_key="k1")
    assert not await again
    assert not await program.keep(call, '{"n": 1}', idempotency_key="k1")
    assert [state for _, _, state in begun.ctx.checkpoints] == [{"n": 1}]
    with pytest.raises(IdConflict):
        program.keep(call, '{"n": 2}', idempotency_key="k1")
    with pytest.raises(IdConflict):
        program.wait(call, "?", '{"n": 1}', idempotency_key="k1")

    await program.keep(call, '{"n": 2}', idempotency_key="k2")
    await program.keep(call, '{"n": 3}')
    await program.keep(call, '{"n": 3}')
    assert [state["n"] for _, _, state in begun.ctx.checkpoints] == [1, 2, 3, 3]


async def test_until_it_is_answered_nothing_else_is_taken() -> None:
    """What comes behind might be lost, if the execution leaves there; what came before may be said again."""
    begun = Begun()
    call = await begun.call()
    program = begun.program
    program.say(call, "ab")
    kept = program.keep(call, '{"n": 1}', idempotency_key="k1")

    for refused in ({"content": "c"}, {"final": True}, {"error": "no"}):
        with pytest.raises(InvalidArgument, match="not on disk yet"):
            program.say(call, **refused)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="not on disk yet"):
        program.keep(call, '{"n": 2}', idempotency_key="k2")
    program.say(call, "ab", offset=0)
    assert not await kept
    program.say(call, "c", offset=2, final=True)
    await begun.run.task
    assert begun.run.said == "abc"


class Refusing(FakeContext):
    """Takes the first checkpoint, and refuses what comes then."""

    async def checkpoint(
        self, state: Mapping[str, Any], *, node_id: str = "", at: Literal["start", "complete"] = "complete"
    ) -> None:
        if self.checkpoints:
            raise LimitExceeded("too much")
        await FakeContext.checkpoint(self, state, node_id=node_id, at=at)

    async def wait_for_input(self, prompt: str, state: Mapping[str, Any], **_: Any) -> NoReturn:
        raise AgentFailed("a cannot ask anybody while it is asked itself.")


async def test_what_is_refused_leaves_the_call_as_it_was() -> None:
    begun = Begun(Refusing(FakeClock()))
    call = await begun.call()
    program = begun.program
    await program.keep(call, '{"n": 1}')
    for number in range(2):
        with pytest.raises(LimitExceeded, match="too much"):
            await program.keep(call, '{"n": 2}', idempotency_key="k")
        assert begun.workers._calls[call].may_move, number
    with pytest.raises(InvalidArgument, match="cannot ask anybody"):
        await program.wait(call, "?", '{"n": 3}')
    with pytest.raises(LimitExceeded, match="at most"):
        program.keep(call, '{"n": "%s"}' % ("x" * MAX_CALL))
    program.lose()
    program.register()
    assert program.calls[call].state == '{"n": 1}'
    program.say(call, "done", final=True)
    await begun.run.task


async def test_only_who_has_the_call_puts_anything_down_over_the_connection_on_which_it_serves() -> None:
    begun = Begun()
    call = await begun.call()
    other = Program(begun.workers, "other")
    other.register()
    for program, call_id in ((other, call), (begun.program, "unknown")):
        for put in (program.keep, lambda one, state, by=program: by.wait(one, "?", state)):
            with pytest.raises(NotFound):
                put(call_id, "{}")
    begun.program.lose()
    with pytest.raises(NotFound):
        begun.program.keep(call, "{}")
    assert begun.ctx.checkpoints == []


async def test_a_state_that_fits_into_no_call_fails_the_turn() -> None:
    begun = Begun(FakeContext(FakeClock(), resumed={"memory": "x" * MAX_CALL}))
    with pytest.raises(AgentFailed, match="too large"):
        await begun.run.task
