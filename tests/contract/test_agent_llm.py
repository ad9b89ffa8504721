"""The agent that a model answers for, and the tools that come with gatewayd, against their conformance suites."""

from collections.abc import Mapping
from typing import Any

import pytest

from gatewayd.agents.base import Agent
from gatewayd.agents.llm import LLMAgent
from gatewayd.agents.tools.base import Tool
from gatewayd.agents.tools.builtin import current_time
from gatewayd.agents.tools.functions import FunctionTool
from gatewayd.agents.tools.toolbox import Toolbox
from gatewayd.config.model import AgentSection
from gatewayd.providers.base import ModelRefused, Text
from gatewayd.testing.agent_contract import AgentContract, AgentSubject, ToolContract
from gatewayd.testing.fakes import FakeClock, Pause, Scripted, ScriptedProvider, calls, says


class TestLLMAgent(AgentContract):
    @pytest.fixture
    def subject(self) -> AgentSubject:
        clock = FakeClock()
        models: list[ScriptedProvider] = []

        def agent(*scripts: list[Scripted]) -> Agent:
            models.append(ScriptedProvider(*scripts, clock=clock))
            tools = Toolbox("a", [FunctionTool(current_time)])
            return LLMAgent("a", AgentSection(), provider=models[-1], model="m", tools=tools, timeout=60.0)

        def answering() -> tuple[Agent, str]:
            return agent(calls("current_time"), says("It is early.")), "It is early."

        return AgentSubject(
            clock,
            answering=answering,
            failing=lambda: agent([ModelRefused("no")]),
            hanging=lambda: agent([Text("well "), Pause(1e6)]),
            idle=lambda: not any(model.open_streams for model in models),
        )


class TestCurrentTime(ToolContract):
    @pytest.fixture
    def tool(self) -> Tool:
        return FunctionTool(current_time)

    @pytest.fixture
    def arguments(self) -> Mapping[str, Any]:
        return {"timezone": "Europe/Berlin"}
