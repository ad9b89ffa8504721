"""Does the documented agent in Python keep an agent's contract, as the daemon runs it?"""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from gatewayd.agents.python import PythonAgents
from gatewayd.testing.agent_contract import AgentContract, AgentSubject
from gatewayd.testing.fakes import FakeClock

ORACLE = Path(__file__).parents[2] / "docs" / "examples" / "oracle.py"


def oracle() -> Any:
    spec = importlib.util.spec_from_file_location("documented_oracle", ORACLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Oracle


class TestOracle(AgentContract):
    @pytest.fixture
    def subject(self) -> AgentSubject:
        agents = PythonAgents({"oracle": oracle})

        def make(answers: dict[str, str], pause: float = 0) -> Any:
            return agents.make(f"{answers}", "oracle", {"answers": answers, "pause": pause})

        return AgentSubject(
            clock=FakeClock(),
            answering=lambda: (make({"hello": "Hello to you."}), "Hello to you."),
            failing=lambda: make({}),
            hanging=lambda: make({"hello": "wait for ever"}, pause=1e6),
            idle=lambda: True,  # it opens nothing
        )
