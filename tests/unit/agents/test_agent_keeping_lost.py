"""What is put down of a call when its worker goes: who goes on from there, and what fails with it."""

import asyncio
import json
import random
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from keeping_rig import Begun, Run
from workers_rig import TIMEOUT, Program, workers_of

from gatewayd.agents.base import Suspended
from gatewayd.core.errors import LimitExceeded, NotFound, Unavailable
from gatewayd.testing.fakes import FakeClock, FakeContext, until


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
