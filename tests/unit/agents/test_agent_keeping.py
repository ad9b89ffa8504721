"""What workers put down of their calls: kept by the execution's context, once, and gone on from by whoever is there."""

import asyncio
import json
import random
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

import pytest
from workers_rig import TIMEOUT, Program, turn, workers_of

from gatewayd.agents.base import AgentFailed, Suspended, TextOutput
from gatewayd.agents.keeping import MAX_CALL
from gatewayd.agents.remote import RemoteAgent
from gatewayd.agents.workers import Workers
from gatewayd.core.errors import IdConflict, InvalidArgument, LimitExceeded, NotFound, Unavailable
from gatewayd.core.event import EventType
from gatewayd.testing.fakes import FakeClock, FakeContext, until


class Run:
    """One run of an agent behind workers: what it has put out, and how it ends."""

    def __init__(self, workers: Workers, ctx: FakeContext, text: str = "hello") -> None:
        self.ctx = ctx
        self.said = ""
        self.task = asyncio.create_task(self._run(RemoteAgent("a", workers, timeout=1000.0), text))

    async def _run(self, agent: RemoteAgent, text: str) -> None:
        async for output in agent.run(turn(text=text), self.ctx):
            assert isinstance(output, TextOutput)
            self.said += output.content


async def called(program: Program) -> str:
    """The id of its only call, once it has one."""
    await until(lambda: len(program.calls) == 1)
    (call_id,) = program.calls
    return call_id


class Begun:
    """A worker with a call, and the run behind it."""

    def __init__(self, ctx: FakeContext | None = None) -> None:
        self.clock = FakeClock()
        self.workers = workers_of(self.clock)
        self.program = Program(self.workers, "w")
        self.program.register()
        self.ctx = ctx or FakeContext(self.clock)
        self.run = Run(self.workers, self.ctx)

    async def call(self) -> str:
        return await called(self.program)

    @property
    def is_over(self) -> bool:
        return not self.workers._calls


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


@pytest.mark.parametrize("how", ["restart", "goodbye", "for good"])
async def test_whoever_is_there_goes_on_from_the_checkpoint_of_a_worker_that_is_lost(how: str) -> None:
    begun = Begun()
    call = await begun.call()
    first, second = begun.program, Program(begun.workers, "second")
    second.register()
    first.say(call, "one ")
    await first.keep(call, '{"n": 1}', idempotency_key="k")

    if how == "restart":
        first.restart()
    elif how == "goodbye":
        begun.workers.left(first.key, first.tell)
    else:
        first.lose()
        await begun.clock.advance(TIMEOUT - 1)
        assert not second.calls
        await begun.clock.advance(2)
    told = second.calls[call]
    assert (told.state, told.offset, told.redelivered) == ('{"n": 1}', 4, False)
    await second.keep(call, '{"n": 2}', idempotency_key="k2")
    second.say(call, "two", offset=told.offset, final=True)
    await begun.run.task

    assert begun.run.said == "one two"


@pytest.mark.parametrize("how", ["restart", "for good"])
@pytest.mark.parametrize("behind", [True, False])
async def test_what_was_said_behind_the_checkpoint_or_without_one_fails_with_its_worker(how: str, behind: bool) -> None:
    begun = Begun()
    call = await begun.call()
    second = Program(begun.workers, "second")
    second.register()
    if behind:
        await begun.program.keep(call, '{"n": 1}')
    begun.program.say(call, "said")
    if how == "restart":
        begun.program.restart()
    else:
        begun.program.lose()
        await begun.clock.advance(TIMEOUT + 1)
    with pytest.raises(Unavailable, match="cut off"):
        await begun.run.task
    assert not second.calls


async def test_with_nobody_else_there_it_is_told_that_nobody_is() -> None:
    begun = Begun()
    await begun.program.keep(await begun.call(), '{"n": 1}')
    begun.program.lose()
    await begun.clock.advance(TIMEOUT + 1)
    with pytest.raises(Unavailable, match="not available"):
        await begun.run.task
    assert (begun.workers._pools, begun.workers._clients, begun.workers._calls) == ({}, {}, {})


class Slow(FakeContext):
    """Its disk takes until it is let go."""

    gate: asyncio.Event

    async def checkpoint(
        self, state: Mapping[str, Any], *, node_id: str = "", at: Literal["start", "complete"] = "complete"
    ) -> None:
        await self.gate.wait()
        await FakeContext.checkpoint(self, state, node_id=node_id, at=at)


async def slow() -> tuple[Begun, asyncio.Event]:
    Slow.gate = asyncio.Event()
    begun = Begun(Slow(FakeClock()))
    return begun, Slow.gate


async def test_one_that_leaves_while_its_worker_is_on_another_connection_is_called_off_there() -> None:
    begun, gate = await slow()
    begun.ctx.pausing = True
    call = await begun.call()
    left = begun.program.keep(call, '{"n": 1}')
    begun.program.lose()
    begun.program.register()
    assert begun.program.calls[call].state == '{"n": 1}', "it is written, whatever becomes of the connection"
    gate.set()
    assert await left
    await asyncio.gather(begun.run.task, return_exceptions=True)
    assert begun.program.cancelled == [call]


@pytest.mark.parametrize("how", ["restart", "goodbye", "for good"])
async def test_another_worker_goes_on_when_what_was_put_down_is_carried_out(how: str) -> None:
    """Before that it could say nothing, and would not know why."""
    begun, gate = await slow()
    call = await begun.call()
    first, second = begun.program, Program(begun.workers, "second")
    second.register()
    first.say(call, "one ")
    first.keep(call, '{"n": 1}')
    await until(lambda: not begun.workers._calls[call].pieces)
    if how == "restart":
        first.restart()
    elif how == "goodbye":
        begun.workers.left(first.key, first.tell)
    else:
        first.lose()
        await begun.clock.advance(TIMEOUT + 1)
    third = Program(begun.workers, "third")
    third.register()
    assert not second.calls
    assert not third.calls

    gate.set()
    await until(lambda: call in {**second.calls, **third.calls})
    other = second if call in second.calls else third
    assert (other.calls[call].state, other.calls[call].offset) == ('{"n": 1}', 4)
    other.say(call, "two", offset=4, final=True)
    await begun.run.task
    assert begun.run.said == "one two"


class SlowlyRefusing(Slow):
    """It refuses when it is let go."""

    async def checkpoint(
        self, state: Mapping[str, Any], *, node_id: str = "", at: Literal["start", "complete"] = "complete"
    ) -> None:
        await self.gate.wait()
        raise LimitExceeded("too much")


async def test_what_was_said_before_something_that_is_refused_fails_with_its_worker() -> None:
    """Another worker would say it once more."""
    SlowlyRefusing.gate = asyncio.Event()
    begun = Begun(SlowlyRefusing(FakeClock()))
    call = await begun.call()
    second = Program(begun.workers, "second")
    second.register()
    begun.program.say(call, "said")
    begun.program.keep(call, '{"n": 1}')
    begun.program.restart()
    SlowlyRefusing.gate.set()

    with pytest.raises(Unavailable, match="cut off"):
        await asyncio.wait_for(begun.run.task, 60)
    assert not second.calls
    assert begun.is_over


async def test_what_was_not_carried_out_when_the_call_ended_comes_to_nothing() -> None:
    begun, _ = await slow()
    call = await begun.call()
    kept = begun.program.keep(call, '{"n": 1}')
    await until(lambda: not begun.workers._calls[call].pieces)
    begun.run.task.cancel()
    with pytest.raises(NotFound):
        await kept
    assert begun.ctx.checkpoints == []
    assert begun.program.cancelled == [call]


async def test_a_state_that_fits_into_no_call_fails_the_turn() -> None:
    begun = Begun(FakeContext(FakeClock(), resumed={"memory": "x" * MAX_CALL}))
    with pytest.raises(AgentFailed, match="too large"):
        await begun.run.task


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_between_steps_each_of_them_is_said_once(seed: int) -> None:
    """Workers come, go and come back, the execution is paused at random; it goes on from its checkpoints to one end."""
    chance = random.Random(seed)
    clock = FakeClock()
    workers = workers_of(clock)
    programs = [Program(workers, name) for name in "xy"]
    for program in programs:
        program.register()
    ctx = FakeContext(clock)
    run = Run(workers, ctx)
    text, done, cuts = "", 0, 0

    async def busy() -> Program:
        await until(lambda: any(program.calls for program in programs))
        return next(one for one in programs if one.calls)

    while done < 12:
        program = await busy()
        ((call_id, call),) = program.calls.items()
        assert int((ctx.resumed or {}).get("n", 0)) <= done
        step = int(json.loads(call.state or '{"n": 0}')["n"]) + 1
        assert step == done + 1, "no step is lost, and none done again"
        ctx.pausing = chance.random() < 0.3
        program.say(call_id, f"{step} ", offset=call.offset)
        left = await program.keep(call_id, f'{{"n": {step}}}', idempotency_key=str(step))
        done = step
        if left:
            del program.calls[call_id]
            with pytest.raises(Suspended):
                await run.task
            text += run.said
            cuts += 1
            ctx = FakeContext(clock, resumed=ctx.checkpoints[-1][2])
            run = Run(workers, ctx)
        elif chance.random() < 0.5:
            cuts += 1
            if chance.random() < 0.5:
                program.restart()
            else:
                program.lose()
                program.calls.clear()
                if chance.random() < 0.5:
                    await clock.advance(TIMEOUT + 1)
            program.register()
        else:
            program.calls.clear()
            program.lose()
            program.register()

    program = await busy()
    ((call_id, call),) = program.calls.items()
    program.say(call_id, "end", offset=call.offset, final=True)
    await run.task
    assert cuts > 0
    assert text + run.said == "".join(f"{step} " for step in range(1, 13)) + "end"
    assert not workers._calls
