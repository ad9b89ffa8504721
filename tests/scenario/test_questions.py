"""Agents that ask people in chats: the question is said there, and the next message there is its answer."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from gateway.v1 import execution_pb2, runtime_service_pb2, session_pb2, session_service_pb2

from gatewayctl.plain import enum_name
from tests.rigs.house import House, eventually, house, state_of

ASKING = '''
"""An agent that asks twice: with words, and without."""

from gatewayd.agents.base import TextOutput


class Twice:
    def __init__(self, name, options): ...

    async def run(self, turn, ctx):
        said = list((ctx.resumed or {}).get("said", [])) + list(ctx.inputs.values())
        if len(said) < 2:
            prompt = "Your name?" if not said else ""
            await ctx.wait_for_input(prompt, {"said": said})
        yield TextOutput(f"{turn.text}: {' and '.join(said)}")
'''
CONFIG = """
gateway: {drain_timeout: 2}
agents:
  echo: {model: offline/echo}
  desk: {graph: desk}
  shy: {graph: shy}
  twice: {class: "asking:Twice"}
graphs:
  desk:
    entry_node: ask
    nodes:
      ask: {kind: router, client_facing: true, prompt: "Which order, {{task}}?"}
      answer: {agent: echo, prompt: "Order {{output}} of {{task}}"}
    edges: [{from: ask, to: answer}]
  shy:
    entry_node: ask
    nodes: {ask: {kind: router, input: true, prompt: "May it?"}, answer: {agent: echo, prompt: "it was: {{output}}"}}
    edges: [{from: ask, to: answer}]
channels:
  desk: {platform: sim, server: "unix:@net", token: desk, routing: {default: desk}}
  hasty: {platform: sim, server: "unix:@net", token: hasty, routing: {dm: desk}, busy_mode: interrupt}
  room:
    {platform: sim, server: "unix:@net", token: room, routing: {group: desk}, session_scope: per_chat,
     group_policy: respond_all}
  shy: {platform: sim, server: "unix:@net", token: shy, routing: {dm: shy}}
  twice: {platform: sim, server: "unix:@net", token: twice, routing: {dm: twice}}
"""


@pytest_asyncio.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    (tmp_path / "asking.py").write_text(ASKING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    async with house(tmp_path, CONFIG) as rig:
        yield rig


async def executions(rig: House, *states: str) -> list[execution_pb2.Execution]:
    """The newest first."""
    request = runtime_service_pb2.ListExecutionsRequest()
    answer = await rig.client.call("RuntimeService/ListExecutions", request, runtime_service_pb2.ListExecutionsResponse)
    kinds = execution_pb2.ExecutionState.DESCRIPTOR
    return [one for one in answer.executions if not states or enum_name(kinds, one.state) in states]


async def rests(rig: House, count: int = 1) -> list[execution_pb2.Execution]:
    """Those that wait for input, once there are so many."""

    async def look() -> list[execution_pb2.Execution] | None:
        found = await executions(rig, "input_required")
        return found if len(found) == count else None

    return await eventually(look)


async def remembered(rig: House, session_id: str) -> list[tuple[str, str]]:
    request = session_service_pb2.GetSessionRequest(session_id=session_id, history_size=100)
    answer = await rig.client.call("SessionService/GetSession", request, session_service_pb2.GetSessionResponse)
    roles = {session_pb2.SESSION_ROLE_USER: "user", session_pb2.SESSION_ROLE_AGENT: "assistant"}
    return [(roles[entry.role], entry.content) for entry in answer.history]


async def test_the_next_message_is_the_answer(rig: House) -> None:
    """It is said in the chat, quotes what it is about, and the answer's story ends with that of the first message."""
    first = rig.network.say("home", "ann", "ann here", token="desk")
    (asked,) = await rig.network.wait_heard(1, "home", timeout=60)
    assert (asked.text, asked.quote) == ("Which order, ann here?", first)
    (waiting,) = await rests(rig)

    second = rig.network.say("home", "ann", "42", token="desk")

    assert (await rig.hear("home", 2, timeout=60))[1] == "Order 42 of ann here"
    begun, given = await rig.story(first, "desk"), await rig.story(second, "desk")
    assert (state_of(begun), state_of(given)) == ("answered", "answered")
    assert begun.message.execution_id == given.message.execution_id == waiting.id
    assert len(await executions(rig)) == 1
    assert f"input: of execution {waiting.id} at ask" in [step.detail for step in given.steps]
    assert await remembered(rig, waiting.session_id) == [
        ("user", "ann here"),
        ("assistant", "Which order, ann here?"),
        ("user", "42"),
        ("assistant", "Order 42 of ann here"),
    ]
    (resumed,) = await rig.events("execution_resumed")
    assert (resumed.execution_id, resumed.node_id) == (waiting.id, "ask")
    assert [one.message.content for one in await rig.events("message")] == ["ann here", "42"]

    rig.network.say("home", "ann", "again", token="desk")
    assert (await rig.hear("home", 3, timeout=60))[2] == "Which order, again?", "what follows is a turn of its own"


async def test_question_and_answer_outlive_kills(rig: House) -> None:
    """Asked once, answered once, and the session goes on, however often the daemon dies in between."""
    first = rig.network.say("home", "ann", "x", token="twice")
    assert await rig.hear("home", 1, timeout=60) == ["Your name?"]
    await rests(rig)
    await rig.sent(first, "twice", 1)
    await rig.daemon.kill()
    second = rig.network.say("home", "ann", "Ann", token="twice")
    await rig.daemon.start()
    await rig.reconnect()
    assert (await rig.hear("home", 2, timeout=60))[1] == "Please say how to go on."
    await rests(rig)
    await rig.sent(first, "twice", 2)
    await rig.daemon.kill()
    await rig.daemon.start()
    await rig.reconnect()
    third = rig.network.say("home", "ann", "Lee", token="twice")

    assert (await rig.hear("home", 3, timeout=60))[2] == "x: Ann and Lee"
    stories = [await rig.story(said, "twice") for said in (first, second, third)]
    assert [state_of(story) for story in stories] == ["answered"] * 3
    assert len(rig.network.heard("home")) == 3
    (done,) = await executions(rig)
    assert [text for _, text in await remembered(rig, done.session_id)] == [
        "x",
        "Your name?",
        "Ann",
        "Please say how to go on.",
        "Lee",
        "x: Ann and Lee",
    ]


async def test_stop_ends_what_waits(rig: House) -> None:
    """`/stop` cancels it and says so; another command is no answer; the next message begins anew."""
    first = rig.network.say("home", "ann", "one", token="desk")
    await rig.hear("home", 1, timeout=60)
    await rests(rig)
    stop = rig.network.say("home", "ann", "/stop", token="desk")
    assert (await rig.hear("home", 2, timeout=60))[1] == "Stopped."
    assert [state_of(await rig.story(said, "desk")) for said in (first, stop)] == ["silent", "answered"]
    (ended,) = await executions(rig, "cancelled")
    assert ended.reason == "stopped by chat:desk/ann"

    rig.network.say("home", "ann", "two", token="desk")
    assert (await rig.hear("home", 3, timeout=60))[2] == "Which order, two?"
    await rests(rig)
    rig.network.say("home", "ann", "/help", token="desk")
    assert (await rig.hear("home", 4, timeout=60))[3] == "Which order, /help?"
    await rests(rig, 2)
    rig.network.say("home", "ann", "7", token="desk")
    assert (await rig.hear("home", 5, timeout=60))[4] == "Order 7 of /help", "who has asked last is answered first"
    await rests(rig)
    rig.network.say("home", "ann", "8", token="desk")
    assert (await rig.hear("home", 6, timeout=60))[5] == "Order 8 of two"


async def test_only_who_was_asked_answers(rig: House) -> None:
    """In a room each has a session of their own, and what does not address the bot is no answer."""
    rig.network.say("hall", "ann", "ann", token="desk", context="group", mentioned=True)
    await rig.hear("hall", 1, timeout=60)
    await rests(rig)
    aside = rig.network.say("hall", "ann", "12, I think", token="desk", context="group")
    assert state_of(await rig.story(aside, "desk")) == "silent"
    rig.network.say("hall", "bob", "bob", token="desk", context="group", mentioned=True)
    assert (await rig.hear("hall", 2, timeout=60))[1] == "Which order, bob?"
    await rests(rig, 2)
    rig.network.say("hall", "ann", "5", token="desk", context="group", mentioned=True)
    assert (await rig.hear("hall", 3, timeout=60))[2] == "Order 5 of ann"

    rig.network.say("club", "ann", "us", token="room", context="group")
    assert await rig.hear("club", 1, timeout=60) == ["Which order, us?"]
    await rests(rig, 2)
    rig.network.say("club", "bob", "6", token="room", context="group")
    assert (await rig.hear("club", 2, timeout=60))[1] == "Order 6 of us", "a session that all share is anybody's"


async def test_an_answer_interrupts_nothing(rig: House) -> None:
    """What waits is not at work: in `busy_mode: interrupt` the answer is an answer, too."""
    rig.network.say("home", "ann", "fast", token="hasty")
    await rig.hear("home", 1, timeout=60)
    await rests(rig)
    rig.network.say("home", "ann", "9", token="hasty")

    assert (await rig.hear("home", 2, timeout=60))[1] == "Order 9 of fast"


async def test_input_by_other_means_is_the_answer_too(rig: House) -> None:
    """An operator gives it; the chat hears the end, the session remembers it, and the next message begins anew."""
    rig.network.say("home", "ann", "ann", token="desk")
    await rig.hear("home", 1, timeout=60)
    (waiting,) = await rests(rig)
    await rig.client.inject_input(waiting.id, "77", node_id="ask")
    assert (await rig.hear("home", 2, timeout=60))[1] == "Order 77 of ann"
    assert ("user", "77") in await remembered(rig, waiting.session_id)

    rig.network.say("home", "ann", "bob", token="desk")
    assert (await rig.hear("home", 3, timeout=60))[2] == "Which order, bob?"


async def test_what_is_not_asked_of_the_client_is_not_said_in_the_chat(rig: House) -> None:
    """A node for somebody else: the client's next message is a turn of its own."""
    rig.network.say("home", "ann", "please", token="shy")
    (waiting,) = await rests(rig)
    rig.network.say("home", "ann", "hello?", token="shy")
    await rests(rig, 2)
    assert not rig.network.heard("home")
    await rig.client.inject_input(waiting.id, "yes", node_id="ask")
    assert await rig.hear("home", 1, timeout=60) == ["it was: yes"]


async def test_an_answer_that_is_too_long_is_told_so(rig: House) -> None:
    rig.network.say("home", "ann", "ann", token="desk")
    await rig.hear("home", 1, timeout=60)
    await rests(rig)
    said = rig.network.say("home", "ann", "4" * 70_000, token="desk")
    assert "too long" in (await rig.hear("home", 2, timeout=60))[1]
    assert state_of(await rig.story(said, "desk")) == "failed_and_told"
    rig.network.say("home", "ann", "4", token="desk")
    assert (await rig.hear("home", 3, timeout=60))[2] == "Order 4 of ann"


async def test_the_question_is_an_event_as_well(rig: House) -> None:
    """Whoever reads events sees what is asked, as before."""
    rig.network.say("home", "ann", "ann", token="desk")
    await rig.hear("home", 1, timeout=60)
    (event,) = await rig.events("client_input_requested")
    assert event.client_input_requested.prompt == "Which order, ann?"
