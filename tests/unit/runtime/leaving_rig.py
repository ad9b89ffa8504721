"""What the tests of executions that leave in the middle share: an agent of four steps that may be held before each."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from gatewayd.agents.base import AgentContext, Output, Suspended, TextOutput, Turn
from gatewayd.core.clock import SystemClock
from gatewayd.core.event import Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.work import Execution, ExecutionState
from tests.rigs.middle import Middle


class Steps:
    """An agent of four steps, each a word, with a checkpoint behind each; it may be held before a step."""

    timeout = 60.0

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.inputs: list[dict[str, str]] = []
        self.gates: dict[int, asyncio.Event] = {}
        self.reached = asyncio.Condition()
        self.asks_at: dict[str, int] = {}
        """By what it is asked, the step before which it waits for input."""
        self.state: dict[str, Any] = {}
        self.stubborn = False

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        done = int((ctx.resumed or {}).get("done", 0))
        assert ctx.deadline is not None
        for step in range(done + 1, 5):
            if step == self.asks_at.get(turn.text) and not ctx.inputs:
                await ctx.wait_for_input(f"{turn.text}?", {"done": step - 1}, node_id="ask")
            if ctx.inputs:
                self.inputs.append(dict(ctx.inputs))
                yield TextOutput(f"({ctx.inputs['ask']}) ")
            self.ran.append(step)
            if step in self.gates:
                await self.gates[step].wait()
            yield TextOutput(f"{step} ")
            try:
                await ctx.checkpoint({"done": step, **self.state})
            except Suspended:
                if not self.stubborn:
                    raise
                yield TextOutput("goes on all the same")

    def hold(self, step: int) -> asyncio.Event:
        self.gates[step] = asyncio.Event()
        return self.gates[step]

    async def at(self, step: int) -> None:
        await until(lambda: bool(self.ran) and self.ran[-1] == step)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def house(place: Path, config: dict[str, Any] | None = None) -> tuple[Middle, Steps]:
    middle = Middle(place, config, SystemClock())
    steps = Steps()
    middle.agents["a"] = steps  # type: ignore[assignment]
    return middle, steps


async def stored(middle: Middle, execution_id: str) -> Execution:
    found = await middle.store.get_execution(execution_id)
    assert found is not None
    return found


async def in_state(middle: Middle, execution_id: str, state: ExecutionState) -> Execution:
    async with asyncio.timeout(60):
        while (found := await stored(middle, execution_id)).state is not state:
            await asyncio.sleep(0.001)
    return found


async def told(middle: Middle, *kinds: EventType) -> list[Event]:
    return list((await middle.store.read_forward(0, EventFilter(frozenset(kinds)), 100)).events)
