"""`gatewayctl chat` and `send` with agents that ask for something: the real daemon, a pipe, a terminal."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.ctl.asking import Sits, as_sender, waiting
from tests.ctl.command import Process, run
from tests.rigs.process import Daemon

pytestmark = pytest.mark.usefixtures("quiet_environment")


@pytest.mark.parametrize("whom", [["desk"], ["--channel", "demo"]])
async def test_over_a_pipe_the_next_line_is_the_input(asking_daemon: Daemon, whom: list[str]) -> None:
    done = await run(asking_daemon, "chat", *whom, stdin="ann\n\n42\nblue\nbob\n7\nred\n")

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "it asks: Which order, ann?",
        "it asks: In which colour is 42?",
        "It is blue, ann",
        "it asks: Which order, bob?",
        "it asks: In which colour is 7?",
        "It is red, bob",
    ]


async def test_a_pipe_that_ends_before_the_answer_fails_and_says_how_to_give_it(asking_daemon: Daemon) -> None:
    done = await run(asking_daemon, "chat", "desk", stdin="ann\n")

    execution = await waiting(asking_daemon)
    assert (done.code, done.out) == (1, "it asks: Which order, ann?\n")
    assert f"gatewayctl executions input {execution} TEXT --node ask" in done.err


async def test_over_a_pipe_an_end_meanwhile_is_told_at_once(asking_daemon: Daemon) -> None:
    """The input stays open, and no line comes: what is told does not wait for one."""
    command = await Process.start("--address", asking_daemon.address, "chat", "desk")
    command.write("ann\n")
    assert await command.line() == "it asks: Which order, ann?"

    await run(asking_daemon, "executions", "cancel", await waiting(asking_daemon), "--reason", "closed for today")
    async with asyncio.timeout(60):
        code = await command.process.wait()

    assert code == 1
    assert command.process.stderr is not None
    err = (await command.process.stderr.read()).decode()
    assert "it waits for this no longer" in err
    assert "closed for today" in err


async def test_a_question_outlives_the_daemon(asking_daemon: Daemon) -> None:
    command = await Process.start("--address", asking_daemon.address, "chat", "desk")
    command.write("ann\n")
    assert await command.line() == "it asks: Which order, ann?"
    await waiting(asking_daemon)
    await asking_daemon.kill()
    await asking_daemon.start()
    await waiting(asking_daemon)  # it can be reached again

    command.write("42\n")
    assert await command.line() == "it asks: In which colour is 42?"
    done = await command.end("blue\n")

    assert (done.code, done.out) == (0, "It is blue, ann\n")


async def test_on_a_terminal_questions_have_a_prompt_of_their_own(asking_daemon: Daemon, sits: Sits) -> None:
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
    await ann.interrupts()
    await ann.sees("cancelled", "you> ")
    listed = json.loads((await run(asking_daemon, "-o", "json", "executions")).out)
    assert [one["state"] for one in listed] == ["cancelled", "succeeded"]

    ann.types("last\n")
    await ann.sees("answer> ")
    ann.types("\x04")
    await ann.sees("gatewayctl executions input")
    assert await ann.ended() == 0
    assert await waiting(asking_daemon)


async def test_on_a_terminal_an_end_meanwhile_is_told_and_what_was_typed_stays(
    asking_daemon: Daemon, sits: Sits
) -> None:
    ann = await sits("chat", "desk")
    await ann.sees("you> ")
    ann.types("ann\n")
    await ann.sees("answer> ")
    ann.types("forty")
    await ann.sees("forty")

    await run(asking_daemon, "executions", "cancel", await waiting(asking_daemon), "--reason", "closed for today")

    await ann.sees("it waits for this no longer", "closed for today", "you> ")
    ann.types("-two\n")
    await ann.sees("it asks: Which order, forty-two?")


async def test_on_a_terminal_somebody_else_may_answer_first(asking_daemon: Daemon, sits: Sits) -> None:
    ann = await sits("chat", "desk")
    await ann.sees("you> ")
    ann.types("ann\n")
    await ann.sees("answer> ")

    await run(asking_daemon, "executions", "input", await waiting(asking_daemon), "43", "--node", "ask")

    await ann.sees("it waits for this no longer", "it asks: In which colour is 43?", "answer> ")
    ann.types("green\n")
    await ann.sees("It is green, ann", "you> ")


@pytest.mark.parametrize("how", [["send"], ["send", "--stream"], ["-o", "json", "send"]])
async def test_send_says_at_once_what_is_asked_and_how_to_answer(asking_daemon: Daemon, how: list[str]) -> None:
    done = await run(asking_daemon, *how, "desk", "ann")

    execution = await waiting(asking_daemon)
    assert (done.code, done.out.strip()) == (1, "")
    assert done.err.splitlines() == [
        "gatewayctl: it asks: Which order, ann?",
        f"answer with: gatewayctl executions input {execution} TEXT --node ask",
        f"and read on with: gatewayctl executions watch {execution}",
    ]


async def test_who_watches_an_execution_is_told_of_each_question(asking_daemon: Daemon, sits: Sits) -> None:
    """It may ask again between two looks: then it waits as before, and for something else."""
    await run(asking_daemon, "send", "desk", "ann")
    execution = await waiting(asking_daemon)
    ann = await sits("executions", "watch", execution)
    await ann.sees("it asks: Which order, ann?")
    await run(asking_daemon, "executions", "input", execution, "42", "--node", "ask")
    await ann.sees("it asks: In which colour is 42?")
    await run(asking_daemon, "executions", "input", execution, "green", "--node", "colour")
    await ann.sees("It is green, ann")
    assert await ann.ended() == 0


async def test_send_needs_no_right_to_see_events_and_asks_for_nothing_that_it_may_not(
    asking_daemon: Daemon, tmp_path: Path
) -> None:
    words = await as_sender(asking_daemon, tmp_path)

    asked = await (await Process.start(*words, "send", "desk", "ann")).end()
    answered = await (await Process.start(*words, "send", "echo", "hello")).end()

    assert (asked.code, asked.err.splitlines()[0]) == (1, "gatewayctl: it asks: Which order, ann?")
    assert (answered.code, answered.out) == (0, "hello\n")
    assert "denied" not in asking_daemon.log.read_text()
    listed = await (await Process.start(*words, "agents")).end()
    assert listed.code == 5
    assert "denied" in asking_daemon.log.read_text(), "what is looked for is what the daemon writes"


async def test_what_a_client_may_not_see_is_told_and_not_asked_for(asking_daemon: Daemon, tmp_path: Path) -> None:
    words = await as_sender(asking_daemon, tmp_path)

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
    assert "denied" not in asking_daemon.log.read_text()
