"""Agents in Python: the documented one, what a wrong one is told, and what a reload keeps."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatewayctl.client import ExecutionFailed, event_filter
from gatewayd.agents.base import MAX_ANSWER
from gatewayd.agents.python import PythonAgents
from gatewayd.cli import main
from gatewayd.core.errors import ConfigInvalid
from gatewayd.plugins import Plugin, PluginError, load_group
from tests.rigs.in_process import InProcess

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
CONFIG = """
agents:
  oracle:
    class: oracle:Oracle
    options: {answers: {weather: It will rain., time: Soon.}, pause: PAUSE}
    timeout: 10s
  bad: {class: "crashing:Agent"}
"""
CRASHING = """
import asyncio

from gatewayd.agents.base import TextOutput
from gatewayd.engine import HandlerAgent, message_handler

made = []

class Agent:
    def __init__(self, name, options):
        made.append(name)
        if "fault" in options:
            raise ValueError("this option is a fault")
        if "exit" in options:
            raise SystemExit("this option is an exit")

    async def run(self, turn, ctx):
        if turn.text == "wrong":
            yield "no output"
        if turn.text.startswith("pieces of"):
            for _ in range(5):
                yield TextOutput("ä" * int(turn.text.split()[-1]))
            return
        if turn.text == "exit":
            raise SystemExit("secret inside")
        if turn.text == "cancelled":
            helper = asyncio.ensure_future(asyncio.sleep(60))
            helper.cancel("secret inside")
            await helper
        raise RuntimeError("secret inside")
        yield

class NoAgent:
    def __init__(self, name, options): ...

class NoOptions(HandlerAgent):
    @message_handler
    async def on_text(self, text: str, ctx) -> str:
        return text

class NoTopics(NoOptions):
    topics = "orders"

class OddTopics(NoOptions):
    topics = ("no topic",)

class OddHandler(HandlerAgent):
    @message_handler
    async def on_text(self, text, ctx) -> str:
        return text

class Coroutine(NoAgent):
    async def run(self, turn, ctx): ...

class Narrow(NoAgent):
    async def run(self):
        yield

async def make(name, options): ...

number = 7
"""


@pytest.fixture(autouse=True)
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example, and a module of faults."""
    (tmp_path / "crashing.py").write_text(CRASHING)
    (tmp_path / "broken.py").write_text("raise SystemExit('at import')")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("oracle", "crashing", "broken"):
        sys.modules.pop(name, None)


def config(pause: str = "0") -> str:
    return CONFIG.replace("PAUSE", pause)


async def test_an_answer_that_is_too_long_fails_and_what_there_is_of_it_arrives(tmp_path: Path) -> None:
    """Longer, it would fit into no message to whoever asked, who would wait for it for ever."""
    async with InProcess(tmp_path, config()) as gateway, gateway.client("c") as client:
        with pytest.raises(ExecutionFailed, match=r"The answer grew too long\."):
            await client.send("bad", f"pieces of {MAX_ANSWER // 8}", timeout=60)
        whole = await client.send("bad", f"pieces of {MAX_ANSWER // 10}", timeout=60)

    assert whole.content == "ä" * (MAX_ANSWER // 10 * 5)


async def test_a_python_agent_answers_with_its_options(tmp_path: Path) -> None:
    async with InProcess(tmp_path, config()) as gateway, gateway.client("c") as client:
        told = client.subscribe(event_filter(["custom"]))

        pieces = [piece async for piece in client.stream("oracle", "How is the weather?")]

        assert "".join(pieces) == "It will rain."
        async for event in told:
            assert (event.custom_type, event.custom.json["words"], event.session_id != "") == ("oracle.asked", 4, True)
            break
        with pytest.raises(ExecutionFailed, match="I know nothing of that"):
            await client.send("oracle", "Who are you?")


@pytest.mark.parametrize("text", ["crash", "wrong", "exit", "cancelled"])
async def test_a_crash_is_an_apology_to_the_user_and_a_traceback_in_the_log(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with InProcess(tmp_path, config()) as gateway, gateway.client("c") as client:
        with pytest.raises(ExecutionFailed) as failure:
            await client.send("bad", text)

        assert "Something went wrong" in failure.value.message
        assert "secret" not in failure.value.message
        assert "agent_crashed" in caplog.text
        assert "Traceback" in caplog.text


async def test_a_python_agents_time_is_bounded(tmp_path: Path) -> None:
    async with InProcess(tmp_path, config("60").replace("10s", "100ms")) as gateway, gateway.client("c") as client:
        with pytest.raises(ExecutionFailed, match="did not finish in time"):
            await client.send("oracle", "weather")


async def test_a_reload_keeps_what_did_not_change_and_refuses_what_cannot_be_made(tmp_path: Path) -> None:
    async with InProcess(tmp_path, config()) as gateway:
        house = gateway.house
        before = {name: house.agents.get(name).agent for name in ("oracle", "bad")}

        await gateway.reload(config("0.001"))

        after = {name: house.agents.get(name).agent for name in ("oracle", "bad")}
        assert after["bad"] is before["bad"]
        assert after["oracle"] is not before["oracle"]
        assert sys.modules["crashing"].made == ["bad"]

        with pytest.raises(ConfigInvalid):
            await gateway.reload(
                config().replace("crashing:Agent", "crashing:Agent, options: {fault: 1}").replace('"', "")
            )
        assert house.agents.get("oracle").agent is after["oracle"]


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ("class: nowhere:Agent", "3:12: agents.a.class: nowhere:Agent cannot be imported: ModuleNotFoundError"),
        ("class: broken:Agent", "broken:Agent cannot be imported: SystemExit: at import"),
        ("class: crashing:Nobody", "crashing:Nobody cannot be imported: AttributeError"),
        ("class: crashing:number", "crashing:number is no factory"),
        ("class: crashing:NoAgent", "made no agent: NoAgent has no method run"),
        ("class: crashing:Coroutine", "it has to be an async generator"),
        ("class: crashing:Narrow", "its run does not take a turn and a context"),
        ("class: crashing:make", "the factory is async"),
        ("{class: crashing:NoOptions, options: {a: 1}}", "its __init__ takes no options"),
        ("class: crashing:NoTopics", "its topics are no tuple"),
        ("class: crashing:OddTopics", "'no topic' is no topic type"),
        ("class: crashing:OddHandler", "crashing:OddHandler is no agent: TypeError"),
        ("{model: offline/echo, topics: [a b]}", "a topic such as orders"),
        ("{model: offline/echo, concurrency: concurrent(0)}", "serial, concurrent(n) with n from 1 to 9999, or latest"),
        ("class: unknown", "no gatewayd.agents plugin is called 'unknown'"),
        ("{class: crashing:Agent, options: {fault: 1}}", "did not make the agent: ValueError: this option is a fault"),
        ("{class: crashing:Agent, options: {exit: 1}}", "did not make the agent: SystemExit: this option is an exit"),
        ("{class: crashing:Agent, model: offline/echo}", "agents.a.model: this is for agents that a model answers for"),
        ("{class: crashing:Agent, tools: []}", "agents.a.tools: this is for agents that a model answers for"),
        ("{class: crashing:Agent, max_steps: 20}", "agents.a.max_steps: this is for agents that a model answers for"),
        ("{class: crashing:Agent, remote: true}", "agents.a.remote: an agent is a Python class or served by workers"),
        ("{remote: true, instructions: Be brief.}", "agents.a.instructions: this is for agents"),
        ("{model: offline/echo, options: {a: 1}}", "agents.a.options: options are what the factory of class is given"),
    ],
)
def test_the_check_says_what_is_wrong_and_where(
    tmp_path: Path, section: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gateway.yaml"
    body = section if section.startswith("{") else f"\n    {section}"
    file.write_text(f"agents:\n  a: {body}\n")

    assert main(["--config", str(file), "--check"]) == 78

    assert why in capsys.readouterr().out


def test_the_check_takes_what_can_be_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(config() + "  nulls: {class: crashing.Agent, model: null}\n")

    assert main(["--config", str(file), "--check"]) == 0, capsys.readouterr().out
    assert "3 agents" in capsys.readouterr().out


def test_an_installed_plugin_is_known_by_its_name() -> None:
    found = load_group("gatewayd.agents", [Plugin("gatewayd.agents", "seer", "oracle:Oracle", "acme 1.0")])
    agents = PythonAgents(found)

    agent = agents.make("a", "seer", {"answers": {"x": "y"}})

    assert (agent.agent.name, agent.agent.answers) == ("a", {"x": "y"})  # type: ignore[attr-defined]
    assert agents.make("a", "seer", {"answers": {"x": "y"}}) is agent
    assert agents.make("a", "seer", {"answers": {"x": True}}) is not agents.make("a", "seer", {"answers": {"x": 1}})
    with pytest.raises(PluginError, match="KeyError"):
        agents.make("a", "seer", {})
