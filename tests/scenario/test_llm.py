"""A daemon whose agents use LiteLLM against a server that speaks the real protocol and misbehaves on request."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from gatewayctl.client import Client, Event, ExecutionFailed, event_filter, new_event
from gatewayctl.events import type_name
from gatewayd.channels.sim_network import SimPlatform
from gatewayd.core.clock import SystemClock, SystemRandomness
from gatewayd.testing.sim_platform import serving
from tests.platforms.openai_server import OpenAIServer, error, text
from tests.rigs.process import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIBRARY = "tiktoken"
"""A shared object that LiteLLM brings into a process and nothing else does."""
KEY = "sk-test-0123456789"
MODELS = (
    "echo",
    "tools",
    "broken",
    "overloaded",
    "stall-first",
    "stall-mid",
    "truncated",
    "disconnect",
    "half-tool-call",
    "truncated-tool-call",
    "cut-tool-call",
    "bad-utf8",
    "huge",
    "endless",
    "empty",
    "unauthorized",
)


def configuration(url: str, place: Path) -> str:
    agents = [f"  {model}: {{model: openai/{model}}}" for model in MODELS]
    agents += [
        "  falls: {model: openai/limited-bare, fallback_models: [offline/echo]}",
        "  waits: {model: openai/waits, fallback_models: [offline/fail]}",
        "  chatty: {model: openai/chatty-down}",
    ]
    return "\n".join(
        [
            f"provider: {{base_url: '{url}', api_key: {KEY}, timeout: 2s, retries: 1}}",
            "agents:",
            *agents,
            f"channels: {{sim: {{server: 'unix:{place}/net', routing: {{dm: chatty}}}}}}",
            "",
        ]
    )


@dataclass
class Rig:
    """The daemon, its models' server, the chat network, and a client."""

    daemon: Daemon
    server: OpenAIServer
    network: SimPlatform
    client: Client

    def asked(self, model: str) -> int:
        """How many requests for that model the server has seen."""
        return sum(request["model"] == model for request in self.server.requests)

    async def events_of(self, agent: str, said: str) -> tuple[list[Event], str]:
        """All events of one execution, and what came of it: the answer, or the sentence of the failure."""
        async with self.client.subscribe(event_filter()) as subscription:
            answer = self.client.stream(agent, said)
            execution = await answer.accepted()
            events = []
            async for event in subscription:
                if event.execution_id == execution:
                    events.append(event)
                    if type_name(event) in ("execution_completed", "execution_failed"):
                        break
            try:
                return events, (await answer.wait()).content
            except ExecutionFailed as failure:
                return events, failure.message


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    place = tmp_path_factory.mktemp("llm")
    network = SimPlatform(SystemClock(), SystemRandomness())
    async with OpenAIServer() as server, serving(network, place / "net"):
        async with Daemon(place, configuration(server.url, place)) as daemon:
            loaded = maps(daemon)
            async with daemon.client() as client:
                yield Rig(daemon, server, network, client)
        assert LIBRARY in loaded, "LiteLLM was not loaded before READY"
        log = daemon.log.read_text()
        assert "Traceback" not in log
        assert KEY not in log
        assert set(server.keys) == {KEY}


def maps(daemon: Daemon) -> str:
    return Path(f"/proc/{daemon.process.pid}/maps").read_text()


async def test_an_answer_streams_as_deltas_that_add_up(rig: Rig) -> None:
    """Each piece is an event with its offset, and what the client reads is their sum."""
    events, answer = await rig.events_of("echo", "one two three")

    deltas = [event.llm_text_delta for event in events if type_name(event) == "llm_text_delta"]
    assert answer == "one two three"
    assert [delta.content for delta in deltas] == ["one", " two", " three"]
    assert [delta.offset for delta in deltas] == [0, 3, 7]
    assert events[-1].execution_completed.output["text"] == answer


async def test_a_tool_is_called_and_the_model_told_its_result(rig: Rig) -> None:
    """The call comes in pieces, runs once it is whole, and its result is in the next request."""
    before = rig.asked("tools")
    events, answer = await rig.events_of("tools", "what time is it in Berlin?")

    assert answer.startswith("The tool says: ")
    (started,) = [event.tool_call_started for event in events if type_name(event) == "tool_call_started"]
    (completed,) = [event.tool_call_completed for event in events if type_name(event) == "tool_call_completed"]
    assert started.tool_name == "current_time"
    assert started.tool_input["timezone"] == "Europe/Berlin"
    assert not completed.is_error
    assert rig.asked("tools") == before + 2
    last = rig.server.requests[-1]["messages"]
    assert [message["role"] for message in last[-2:]] == ["assistant", "tool"]
    assert last[-1]["content"] in answer


async def test_F65_a_limited_model_falls_back(rig: Rig) -> None:
    """429 without a word on when: retried once, then the next model of the chain answers."""
    assert (await rig.client.send("falls", "answered inside")).content == "answered inside"
    assert rig.asked("limited-bare") == 2


async def test_F65_the_wait_that_a_server_asks_for_is_kept(rig: Rig) -> None:
    """429 with Retry-After: 1 is tried again after that second and not before."""
    rig.server.script(error(429, retry_after="1"), text("patience"))
    began = time.monotonic()

    assert (await rig.client.send("waits", "hello")).content == "patience"

    assert time.monotonic() - began >= 1.0


async def test_F65_a_model_that_keeps_failing_rests_and_the_user_is_told_at_once(rig: Rig) -> None:
    """Five failures in a row open the breaker: the server is left alone, the answer stays honest."""
    for _ in range(3):
        with pytest.raises(ExecutionFailed, match="The model is not available right now"):
            await rig.client.send("broken", "hello")
    asked = rig.asked("broken")
    assert asked == 5

    with pytest.raises(ExecutionFailed, match="The model is not available right now"):
        await rig.client.send("broken", "hello")

    assert rig.asked("broken") == asked


async def test_F65_a_chat_user_reads_an_honest_sentence(rig: Rig) -> None:
    """No silence and no details of the vendor; the next message is answered when the model is back."""
    rig.server.script(error(500, "internal: secret details"), error(529), text("better now"))
    rig.network.say("room", "ann", "are you there?")

    (heard,) = await rig.network.wait_heard(1, "room", timeout=60)
    assert heard.text.startswith("Sorry, this did not work: The model is not available right now")
    assert "secret details" not in heard.text

    rig.network.say("room", "ann", "and now?")
    assert (await rig.network.wait_heard(2, "room", timeout=60))[1].text == "better now"


@pytest.mark.parametrize(
    ("agent", "told", "shown"),
    [
        ("stall-first", "The model is not available right now", ""),
        ("stall-mid", "The model's answer broke off", "Hello"),
    ],
)
async def test_F64_a_model_that_stalls_ends_at_its_deadline(rig: Rig, agent: str, told: str, shown: str) -> None:
    """Before the first word it is tried again, after it never; either way the user is told."""
    began = time.monotonic()
    events, answer = await rig.events_of(agent, "hello")

    assert told in answer
    assert "".join(event.llm_text_delta.content for event in events if type_name(event) == "llm_text_delta") == shown
    assert time.monotonic() - began < 30  # the agent's own deadline would be
    assert rig.asked(agent) == (1 if shown else 2)


@pytest.mark.parametrize("agent", ["truncated", "disconnect"])
async def test_F66_a_cut_stream_is_never_an_answer(rig: Rig, agent: str) -> None:
    """What was shown is marked as broken off, and is not tried again."""
    events, answer = await rig.events_of(agent, "hello")

    assert "The model's answer broke off" in answer
    assert type_name(events[-1]) == "execution_failed"
    assert rig.asked(agent) == 1


@pytest.mark.parametrize("agent", ["half-tool-call", "truncated-tool-call", "cut-tool-call"])
async def test_F66_half_a_tool_call_is_never_executed(rig: Rig, agent: str) -> None:
    """Cut, malformed or stopped by the length limit: no tool runs; the turn ends, and says how."""
    events, answer = await asyncio.wait_for(rig.events_of(agent, "what time is it?"), 60)

    kinds = [type_name(event) for event in events]
    ran = [event.tool_call_completed for event in events if type_name(event) == "tool_call_completed"]
    assert all(call.is_error for call in ran), "half a call has run"
    assert kinds[-1] in ("execution_failed", "execution_completed")
    assert answer


@pytest.mark.parametrize(("agent", "least"), [("bad-utf8", 1), ("huge", 0), ("endless", 0), ("empty", 0)])
async def test_F66_whatever_a_model_sends_is_bounded_and_the_daemon_serves_on(rig: Rig, agent: str, least: int) -> None:
    """Ten megabytes, no end, no text, no UTF-8: an end within a bound, and a word for the user."""
    _, answer = await asyncio.wait_for(rig.events_of(agent, "hello"), 60)

    assert len(answer) > least
    assert len(answer) < 2 << 20
    assert (await rig.client.send("echo", "still there")).content == "still there"


async def test_a_refusal_is_not_tried_again(rig: Rig) -> None:
    """401 is no accident: one request, and the answer says that it was refused."""
    with pytest.raises(ExecutionFailed, match="The model refused this request"):
        await rig.client.send("unauthorized", "hello")
    assert rig.asked("unauthorized") == 1


async def test_litellm_comes_with_a_reload_while_streams_stay_alive(tmp_path: Path) -> None:
    """Only an offline model: it is not there. A reload that needs it loads it beside everybody's work."""
    offline = "agents: {a: {model: offline/echo}}\n"
    async with OpenAIServer() as server, Daemon(tmp_path, offline) as daemon:
        async with daemon.client("one") as client, daemon.client("two") as other:
            assert LIBRARY not in maps(daemon)
            events = await other.subscribe(event_filter(types=["message"], stream_id="s")).started()
            longest, sent, done = 0.0, 0, asyncio.Event()

            async def talk() -> None:
                nonlocal longest, sent
                while not done.is_set():
                    began = time.monotonic()
                    await client.publish(new_event("message", {"content": str(sent)}, stream_id="s"))
                    assert (await anext(events)).message.content == str(sent)
                    longest, sent = max(longest, time.monotonic() - began), sent + 1

            talking = asyncio.create_task(talk())
            daemon.write(offline.replace("}}", f"}}, m: {{model: openai/echo, base_url: '{server.url}'}}}}"))
            asked = time.monotonic()
            code, _, err = await daemon.ctl("reload", "--wait")
            took = time.monotonic() - asked
            done.set()
            await talking

            assert code == 0, err
            assert LIBRARY in maps(daemon)
            assert (await client.send("m", "with the new model")).content == "with the new model"
            assert client._conversation.connects == other._conversation.connects == 1
            assert sent > 20
            assert longest < took / 2, f"the loop stood still for {longest:.1f} of {took:.1f} s"
