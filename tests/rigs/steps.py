"""An installed model, tool and agent whose effects can be counted outside of the daemon, for killing it among them."""

import os
from pathlib import Path

from tests.rigs.process import Daemon

PLUGIN = '''
"""A model that asks for two tools and never asks for the same twice, the tool, and an agent that waits for input."""

import asyncio
import os
import uuid
from pathlib import Path

from gatewayd.agents.base import TextOutput
from gatewayd.agents.tools.base import ToolContext
from gatewayd.providers.base import Finished, FinishReason, Role, Text, ToolCallPiece, Usage

PLACE = Path(os.environ["STEPS_PLACE"])


def note(name, line):
    with (PLACE / name).open("a") as file:
        file.write(line + "\\n")


async def held(name):
    """Wait there for as long as the test keeps a file of that name."""
    while (PLACE / f"hold-{name}").exists():
        note(f"at-{name}", "here")
        await asyncio.sleep(0.02)


async def mark(label: str, nonce: str, ctx: ToolContext) -> str:
    """Leave a mark."""
    note("marks", f"{label} {ctx.idempotency_key}")
    await held(label)
    return f"marked {label}"


class Model:
    def __init__(self, clock): ...

    async def load(self): ...

    async def close(self): ...

    async def stream(self, prompt):
        results = sum(message.role is Role.TOOL for message in prompt.messages)
        note("prompts", str(results))
        if results:
            await held("model")
            yield Text("Done.")
            yield Finished(FinishReason.STOP)
            return
        yield Text("Working.")
        for place, label in enumerate("ab"):
            arguments = '{"label": "%s", "nonce": "%s"}' % (label, uuid.uuid4())
            yield ToolCallPiece(place, f"call-{label}", "mark", arguments)
        yield Finished(FinishReason.TOOL_CALLS, Usage(11, 7))


class Asking:
    """Asks for a name at the node `name`, and tells what it was given to go on from."""

    def __init__(self, name, options): ...

    async def run(self, turn, ctx):
        if ctx.resumed and "memory" in ctx.resumed:
            yield TextOutput(f"{sorted(ctx.resumed['memory'].items())} {ctx.resumed['paused_at']}")
            return
        if "name" not in ctx.inputs:
            yield TextOutput("Well. ")
            await ctx.wait_for_input("Your name?", {"asked": turn.text}, node_id="name")
        yield TextOutput(f"{ctx.resumed['asked']}, {ctx.inputs['name']}!")
'''
CONFIG = """
agents:
  worker: {model: stepping/two, tools: [mark]}
  asking: {class: "stepping:Asking"}
entry_points:
  work: {agent: worker}
  ask: {agent: asking}
gateway: {drain_timeout: 2}
"""


def stepping(place: Path, config: str = CONFIG) -> Daemon:
    """A daemon, not started, with all that installed."""
    (place / "stepping.py").write_text(PLUGIN)
    offers = place / "stepping-1.0.dist-info"
    offers.mkdir()
    (offers / "METADATA").write_text("Metadata-Version: 2.1\nName: stepping\nVersion: 1.0\n")
    (offers / "entry_points.txt").write_text(
        "[gatewayd.tools]\nmark = stepping:mark\n[gatewayd.providers]\nstepping = stepping:Model\n"
    )
    daemon = Daemon(place, config)
    before = os.environ.get("PYTHONPATH", "")
    daemon.environ["PYTHONPATH"] = os.pathsep.join(part for part in (str(place), before) if part)
    daemon.environ["STEPS_PLACE"] = str(place)
    return daemon


def hold(place: Path, name: str) -> None:
    """Whatever comes there waits from now on."""
    (place / f"hold-{name}").touch()


def let_go(place: Path, name: str) -> None:
    """It goes on."""
    (place / f"hold-{name}").unlink()


def lines(place: Path, name: str) -> list[str]:
    """What was noted outside."""
    file = place / name
    return file.read_text().splitlines() if file.exists() else []
