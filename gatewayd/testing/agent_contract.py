"""The conformance suites of agents and tools.

An agent's test subclasses `AgentContract` and supplies a fixture `subject`: how to make it answer, fail and hang.
A tool's test subclasses `ToolContract` and supplies fixtures `tool` and `arguments`. The names are the promises of
`gatewayd.agents.base` and `gatewayd.agents.tools.base`.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from gatewayd.agents.base import Agent, AgentFailed, TextOutput, ToolCompleted, ToolStarted, Turn
from gatewayd.agents.tools.base import Tool, ToolContext, ToolFailed
from gatewayd.testing.fakes import FakeClock, FakeContext, collect, until

ASKED = Turn(text="hello", session_id="s", principal="p")


@dataclass
class AgentSubject:
    """One agent in its moods. Each maker gives a fresh agent."""

    clock: FakeClock
    answering: Callable[[], tuple[Agent, str]]
    """An agent that answers, and what."""
    failing: Callable[[], Agent]
    """One whose turn cannot be finished."""
    hanging: Callable[[], Agent]
    """One that says something and then waits for longer than anybody has."""
    idle: Callable[[], bool]
    """Whether everything that the last agent opened is closed again."""


class AgentContract:
    """See the module's docstring."""

    async def test_the_answer_is_the_text_that_was_put_out(self, subject: AgentSubject) -> None:
        agent, answer = subject.answering()

        outputs = await collect(agent.run(ASKED, FakeContext(subject.clock)))

        assert "".join(one.content for one in outputs if isinstance(one, TextOutput)) == answer
        assert subject.idle()

    async def test_every_tool_call_that_starts_completes(self, subject: AgentSubject) -> None:
        agent, _ = subject.answering()

        outputs = await collect(agent.run(ASKED, FakeContext(subject.clock)))

        started = [one.tool_use_id for one in outputs if isinstance(one, ToolStarted)]
        assert started == [one.tool_use_id for one in outputs if isinstance(one, ToolCompleted)]

    async def test_a_failure_is_a_sentence_for_the_user(self, subject: AgentSubject) -> None:
        with pytest.raises(AgentFailed) as failure:
            await collect(subject.failing().run(ASKED, FakeContext(subject.clock)))

        assert str(failure.value).strip()
        assert "Traceback" not in str(failure.value)
        assert subject.idle()

    async def test_a_cancelled_turn_ends_at_once_and_leaves_nothing_open(self, subject: AgentSubject) -> None:
        said: list[object] = []

        async def listen() -> None:
            async for output in subject.hanging().run(ASKED, FakeContext(subject.clock)):
                said.append(output)

        task = asyncio.create_task(listen())
        await until(lambda: bool(said))
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert subject.idle()

    async def test_turns_run_side_by_side(self, subject: AgentSubject) -> None:
        agent, answer = subject.answering()
        del agent
        agents = [subject.answering()[0] for _ in range(5)]

        answers = await asyncio.gather(*(collect(one.run(ASKED, FakeContext(subject.clock))) for one in agents))

        texts = {"".join(one.content for one in outputs if isinstance(one, TextOutput)) for outputs in answers}
        assert texts == {answer}


class ToolContract:
    """See the module's docstring."""

    async def test_its_schema_is_one_of_an_object_that_a_model_can_read(self, tool: Tool) -> None:
        assert tool.name.isidentifier()
        assert tool.description.strip()
        assert tool.parameters["type"] == "object"
        json.dumps(tool.parameters)

    async def test_it_answers_with_text(self, tool: Tool, arguments: Mapping[str, Any]) -> None:
        assert isinstance(await tool.call(arguments, _context()), str)

    async def test_arguments_off_the_schema_are_told_to_the_model(
        self, tool: Tool, arguments: Mapping[str, Any]
    ) -> None:
        with pytest.raises(ToolFailed) as failure:
            await tool.call({**arguments, "no_such_argument": 1}, _context())

        assert "no_such_argument" in str(failure.value)


def _context() -> ToolContext:
    return ToolContext(clock=FakeClock(), execution_id="x", principal="p", idempotency_key="k")
