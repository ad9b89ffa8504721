"""A run of an agent behind workers, and the worker that has its call."""

import asyncio

from workers_rig import Program, turn, workers_of

from gatewayd.agents.base import TextOutput
from gatewayd.agents.remote import RemoteAgent
from gatewayd.agents.workers import Workers
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
