"""What the stories about graphs share: functions of nodes in a module of their own, their diary, pauses and inputs."""

import json
from pathlib import Path

import pytest
from gateway.v1 import execution_pb2, runtime_service_pb2

from tests.rigs.house import House, eventually

STEPS = '''
"""Functions of nodes that write into a diary outside of the gateway, and wait there."""

import asyncio
import json
import os
from pathlib import Path

from gatewayd.agents.base import AgentFailed

PLACE = Path(os.environ["STEPS_PLACE"])


def note(call, what):
    entry = {"node": call.node_id, "what": what, "key": call.idempotency_key, "execution": call.execution_id}
    with (PLACE / "diary").open("a") as diary:
        diary.write(json.dumps(entry) + "\\n")


async def step(call):
    """One that is done at once."""
    note(call, "done")
    return {"node": call.node_id, "was": call.output[:40]}


async def gate(call):
    """One that waits until its file is there."""
    note(call, "begun")
    while not (PLACE / f"{call.node_id}.open").exists():
        await asyncio.sleep(0.02)
    note(call, "done")
    return f"{call.node_id} passed"


async def twice(call):
    """One that fails the first two times."""
    tried = sum(1 for line in (PLACE / "diary").read_text().splitlines() if call.execution_id in line) if (
        PLACE / "diary").exists() else 0
    note(call, "tried")
    if tried < 2:
        raise AgentFailed(f"try {tried + 1} failed")
    return "third time"
'''


class Diary:
    """What functions of nodes have done, seen from outside."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place / "steps"
        self.place.mkdir()
        (self.place / "steps.py").write_text(STEPS)
        monkeypatch.setenv("PYTHONPATH", str(self.place), prepend=":")
        monkeypatch.setenv("STEPS_PLACE", str(self.place))

    def open(self, node: str) -> None:
        """Let a `gate` pass."""
        (self.place / f"{node}.open").touch()

    def entries(self, what: str = "") -> list[dict[str, str]]:
        path = self.place / "diary"
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [each for each in found if what in ("", each["what"])]

    def nodes(self, what: str = "done") -> list[str]:
        return [each["node"] for each in self.entries(what)]

    async def until(self, node: str, what: str) -> None:
        """Wait for that to be written."""

        async def there() -> bool:
            return node in self.nodes(what)

        await eventually(there)


async def pause(rig: House, execution_id: str) -> None:
    """At its next step; does not wait for it."""
    request = runtime_service_pb2.PauseExecutionRequest(execution_id=execution_id, reason="lunch")
    request.timeout.FromMilliseconds(1)
    await rig.client.call("RuntimeService/PauseExecution", request, runtime_service_pb2.PauseExecutionResponse)


async def resume(rig: House, execution_id: str) -> execution_pb2.Execution:
    request = runtime_service_pb2.ResumeExecutionRequest(execution_id=execution_id)
    answer = await rig.client.call(
        "RuntimeService/ResumeExecution", request, runtime_service_pb2.ResumeExecutionResponse
    )
    return answer.execution


async def give(rig: House, execution_id: str, node_id: str, content: str) -> None:
    request = runtime_service_pb2.InjectInputRequest(execution_id=execution_id, node_id=node_id, content=content)
    await rig.client.call("RuntimeService/InjectInput", request, runtime_service_pb2.InjectInputResponse)
