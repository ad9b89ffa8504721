"""`gatewayctl chat` and `send` with agents that ask for something: the real daemon, a pipe, a terminal."""

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.ctl.command import Process, run
from tests.rigs.process import Daemon

pytestmark = pytest.mark.usefixtures("quiet_environment")

CONFIG = """\
agents:
  echo: {model: offline/echo}
  desk: {graph: desk}
graphs:
  desk:
    entry_node: ask
    nodes:
      ask: {kind: router, client_facing: true, prompt: "Which order, {{task}}?"}
      colour: {kind: router, client_facing: true, prompt: "In which colour is {{output}}?"}
      answer: {agent: echo, prompt: "It is {{output}}, {{task}}"}
    edges: [{from: ask, to: colour}, {from: colour, to: answer}]
channels:
  demo: {platform: sim, routing: {default: desk}}
"""


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path, CONFIG) as daemon:
        yield daemon


async def waiting(daemon: Daemon) -> str:
    """The execution that waits for input, once there is one."""
    async with asyncio.timeout(60):
        while True:
            done = await run(daemon, "-o", "json", "executions", "--state", "input_required")
            if done.code == 0 and (found := json.loads(done.out)):
                return str(found[0]["id"])


class Person:
    """Somebody at a terminal, who sees what is written there and types."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self._master = master
        self._seen = ""
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._look)

    def _look(self) -> None:
        try:
            data = os.read(self._master, 4096)
        except OSError:  # the other side is closed
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        self._seen += data.decode()
        self._news.set()

    async def sees(self, *texts: str) -> None:
        """Wait for these, one after another, behind what was seen before."""
        async with asyncio.timeout(60):
            for text in texts:
                while text not in self._seen:
                    self._news.clear()
                    await self._news.wait()
                self._seen = self._seen.split(text, 1)[1]

    def types(self, text: str) -> None:
        os.write(self._master, text.encode())

    async def ended(self) -> int:
        async with asyncio.timeout(60):
            return await self.process.wait()

    async def leaves(self) -> None:
        """Close the terminal, whatever still runs there."""
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)


Sits = Callable[..., Awaitable[Person]]
"""Somebody sits down at a terminal and begins a command of gatewayctl."""


@pytest.fixture
async def sits(daemon: Daemon) -> AsyncIterator[Sits]:
    people: list[Person] = []

    async def begin(*words: str) -> Person:
        master, terminal = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gatewayctl", "--address", daemon.address, *words),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**os.environ, "TERM": "dumb"},
        )
        os.close(terminal)
        people.append(Person(process, master))
        return people[-1]

    yield begin
    for each in people:
        await each.leaves()


@pytest.mark.parametrize("whom", [["desk"], ["--channel", "demo"]])
async def test_over_a_pipe_the_next_line_is_the_input(daemon: Daemon, whom: list[str]) -> None:
    done = await run(daemon, "chat", *whom, stdin="ann\n\n42\nblue\nbob\n7\nred\n")

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "it asks: Which order, ann?",
        "it asks: In which colour is 42?",
        "It is blue, ann",
        "it asks: Which order, bob?",
        "it asks: In which colour is 7?",
        "It is red, bob",
    ]


async def test_a_pipe_that_ends_before_the_answer_fails_and_says_how_to_give_it(daemon: Daemon) -> None:
    done = await run(daemon, "chat", "desk", stdin="ann\n")

    execution = await waiting(daemon)
    assert (done.code, done.out) == (1, "it asks: Which order, ann?\n")
    assert f"gatewayctl executions input {execution} TEXT --node ask" in done.err


async def test_over_a_pipe_an_end_meanwhile_is_told_at_once(daemon: Daemon) -> None:
    """The input stays open, and no line comes: what is told does not wait for one."""
    command = await Process.start("--address", daemon.address, "chat", "desk")
    command.write("ann\n")
    assert await command.line() == "it asks: Which order, ann?"

    await run(daemon, "executions", "cancel", await waiting(daemon), "--reason", "closed for today")
    async with asyncio.timeout(60):
        code = await command.process.wait()

    assert code == 1
    assert command.process.stderr is not None
    err = (await command.process.stderr.read()).decode()
    assert "it waits for this no longer" in err
    assert "closed for today" in err


async def test_a_question_outlives_the_daemon(daemon: Daemon) -> None:
    command = await Process.start("--address", daemon.address, "chat", "desk")
    command.write("ann\n")
    assert await command.line() == "it asks: Which order, ann?"
    await waiting(daemon)
    await daemon.kill()
    await daemon.start()
    await waiting(daemon)  # it can be reached again

    command.write("42\n")
    assert await command.line() == "it asks: In which colour is 42?"
    done = await command.end("blue\n")

    assert (done.code, done.out) == (0, "It is blue, ann\n")


async def test_on_a_terminal_questions_have_a_prompt_of_their_own(daemon: Daemon, sits: Sits) -> None:
    """Ctrl-C cancels the execution that asks, Ctrl-D leaves it waiting."""
    ann = await sits("chat", "desk")
    await ann.sees("you> ")
    ann.types("ann\n")
    await ann.sees("it asks: Which order, ann?", "answer> ")
    ann.types("42\n")
    await ann.sees("it asks: In which colour is 42?", "answer> ")
    ann.types("blue\n")
    await ann.sees("It is blue, ann", "you> ")

    ann.types("again\n")
    await ann.sees("answer> ")
    ann.process.send_signal(signal.SIGINT)
    await ann.sees("cancelled", "you> ")
    listed = json.loads((await run(daemon, "-o", "json", "executions")).out)
    assert [one["state"] for one in listed] == ["cancelled", "succeeded"]

    ann.types("last\n")
    await ann.sees("answer> ")
    ann.types("\x04")
    await ann.sees("gatewayctl executions input")
    assert await ann.ended() == 0
    assert await waiting(daemon)


async def test_on_a_terminal_an_end_meanwhile_is_told_and_what_was_typed_stays(daemon: Daemon, sits: Sits) -> None:
    ann = await sits("chat", "desk")
    await ann.sees("you> ")
    ann.types("ann\n")
    await ann.sees("answer> ")
    ann.types("forty")
    await ann.sees("forty")

    await run(daemon, "executions", "cancel", await waiting(daemon), "--reason", "closed for today")

    await ann.sees("it waits for this no longer", "closed for today", "you> ")
    ann.types("-two\n")
    await ann.sees("it asks: Which order, forty-two?")


async def test_on_a_terminal_somebody_else_may_answer_first(daemon: Daemon, sits: Sits) -> None:
    ann = await sits("chat", "desk")
    await ann.sees("you> ")
    ann.types("ann\n")
    await ann.sees("answer> ")

    await run(daemon, "executions", "input", await waiting(daemon), "43", "--node", "ask")

    await ann.sees("it waits for this no longer", "it asks: In which colour is 43?", "answer> ")
    ann.types("green\n")
    await ann.sees("It is green, ann", "you> ")


@pytest.mark.parametrize("how", [["send"], ["send", "--stream"], ["-o", "json", "send"]])
async def test_send_says_at_once_what_is_asked_and_how_to_answer(daemon: Daemon, how: list[str]) -> None:
    done = await run(daemon, *how, "desk", "ann")

    execution = await waiting(daemon)
    assert (done.code, done.out.strip()) == (1, "")
    assert done.err.splitlines() == [
        "gatewayctl: it asks: Which order, ann?",
        f"answer with: gatewayctl executions input {execution} TEXT --node ask",
        f"and read on with: gatewayctl executions watch {execution}",
    ]


async def test_who_watches_an_execution_is_told_of_each_question(daemon: Daemon, sits: Sits) -> None:
    """It may ask again between two looks: then it waits as before, and for something else."""
    await run(daemon, "send", "desk", "ann")
    execution = await waiting(daemon)
    ann = await sits("executions", "watch", execution)
    await ann.sees("it asks: Which order, ann?")
    await run(daemon, "executions", "input", execution, "42", "--node", "ask")
    await ann.sees("it asks: In which colour is 42?")
    await run(daemon, "executions", "input", execution, "green", "--node", "colour")
    await ann.sees("It is green, ann")
    assert await ann.ended() == 0


async def as_sender(daemon: Daemon, tmp_path: Path, *more: str) -> tuple[str, ...]:
    """The options by which a command speaks for a client that may send, and nothing else but `more`."""
    scopes = [word for scope in ("agents.send:*", *more) for word in ("--scope", scope)]
    made = json.loads((await run(daemon, "-o", "json", "token", "new", "sender", *scopes)).out)
    daemon.write(f"{CONFIG}clients: {json.dumps(made['clients'])}\n")
    assert (await run(daemon, "reload")).code == 0
    address = f"127.0.0.1:{daemon.port}"
    tokens = tmp_path / "token"
    tokens.write_text(f"{address} {made['token']}\n")
    tokens.chmod(0o600)
    return ("--address", address, "--token-file", str(tokens))


async def test_send_needs_no_right_to_see_events_and_asks_for_nothing_that_it_may_not(
    daemon: Daemon, tmp_path: Path
) -> None:
    words = await as_sender(daemon, tmp_path)

    asked = await (await Process.start(*words, "send", "desk", "ann")).end()
    answered = await (await Process.start(*words, "send", "echo", "hello")).end()

    assert (asked.code, asked.err.splitlines()[0]) == (1, "gatewayctl: it asks: Which order, ann?")
    assert (answered.code, answered.out) == (0, "hello\n")
    assert "denied" not in daemon.log.read_text()
    listed = await (await Process.start(*words, "agents")).end()
    assert listed.code == 5
    assert "denied" in daemon.log.read_text(), "what is looked for is what the daemon writes"


async def test_what_a_client_may_not_see_is_told_and_not_asked_for(daemon: Daemon, tmp_path: Path) -> None:
    words = await as_sender(daemon, tmp_path)

    done = await (await Process.start(*words, "chat", "echo")).end("hello\n")
    gone_on = await (await Process.start(*words, "chat", "echo", "--session", "none")).end()
    streamed = await (await Process.start(*words, "send", "--stream", "echo", "hello")).end()

    assert (done.code, done.out) == (0, "hello\n")
    assert done.err.splitlines() == [
        "not shown, for lack of a scope: what agents ask (events.subscribe:client_input_requested@*), "
        "what the agent begins with (admin.read)"
    ]
    assert gone_on.err.strip().endswith("what waits in the session (sessions:own)")
    assert (streamed.code, streamed.out) == (0, "hello\n")
    assert streamed.err.strip().endswith("what the agent asks (events.subscribe:client_input_requested@*)")
    assert "denied" not in daemon.log.read_text()


async def left_waiting(daemon: Daemon, *words: str) -> tuple[str, str]:
    """Somebody has sent this and left: the execution that waits now, and its session."""
    await run(daemon, "send", *words)
    listed = json.loads((await run(daemon, "-o", "json", "executions", "--state", "input_required")).out)
    return listed[0]["id"], listed[0]["session_id"]


async def test_what_waits_in_a_session_is_asked_before_anything_is_said(daemon: Daemon) -> None:
    execution, session = await left_waiting(daemon, "desk", "ann")

    done = await run(daemon, "chat", "desk", "--session", session, stdin="42\nblue\nbob\n7\nred\n")

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "it asks: Which order, ann?",
        "it asks: In which colour is 42?",
        "It is blue, ann",
        "it asks: Which order, bob?",
        "it asks: In which colour is 7?",
        "It is red, bob",
    ]
    shown = json.loads((await run(daemon, "-o", "json", "executions", "show", execution)).out)
    assert shown["output"] == "It is blue, ann"


async def test_of_several_that_wait_in_a_session_the_newest_question_is_the_first(daemon: Daemon) -> None:
    first, session = await left_waiting(daemon, "desk", "ann")
    await left_waiting(daemon, "desk", "bob", "--session", session)
    await run(daemon, "executions", "input", first, "42", "--node", "ask")
    async with asyncio.timeout(60):
        while "In which colour" not in (await run(daemon, "executions", "show", first)).err:
            pass

    done = await run(daemon, "chat", "desk", "--session", session, stdin="blue\n7\n")

    assert done.out.splitlines() == [
        "it asks: In which colour is 42?",
        "It is blue, ann",
        "it asks: Which order, bob?",
        "it asks: In which colour is 7?",
    ]
    assert done.code == 1, "the input has ended before the answer"
    assert "--node colour" in done.err


async def test_on_a_terminal_what_waits_in_a_session_can_end_meanwhile(daemon: Daemon, sits: Sits) -> None:
    execution, session = await left_waiting(daemon, "desk", "ann")
    ann = await sits("chat", "desk", "--session", session)
    await ann.sees("it asks: Which order, ann?", "answer> ")

    await run(daemon, "executions", "cancel", execution, "--reason", "closed for today")

    await ann.sees("it waits for this no longer", "closed for today", "you> ")
    ann.types("\x04")
    assert await ann.ended() == 0


async def test_what_waits_in_a_session_of_somebody_else_is_not_answered(daemon: Daemon, tmp_path: Path) -> None:
    words = await as_sender(daemon, tmp_path, "sessions:own")
    execution, session = await left_waiting(daemon, "desk", "ann")

    done = await (await Process.start(*words, "chat", "desk", "--session", session)).end("42\n")

    assert (done.code, done.out) == (4, "")
    assert await waiting(daemon) == execution


async def test_a_client_goes_on_with_its_own_session(daemon: Daemon, tmp_path: Path) -> None:
    words = await as_sender(daemon, tmp_path, "sessions:own")
    await (await Process.start(*words, "send", "desk", "ann")).end()
    listed = json.loads((await run(daemon, "-o", "json", "executions", "--state", "input_required")).out)

    done = await (await Process.start(*words, "chat", "desk", "--session", listed[0]["session_id"])).end("42\nblue\n")

    assert (done.code, done.out.splitlines()[-1]) == (0, "It is blue, ann")
