"""`gatewayctl chat --session` where something waits already: what is shown, in which order, and to whom."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.ctl.asking import Sits, as_sender, waiting
from tests.ctl.command import Process, run
from tests.rigs.process import Daemon

pytestmark = pytest.mark.usefixtures("quiet_environment")


async def left_waiting(daemon: Daemon, *words: str) -> tuple[str, str]:
    """Somebody has sent this and left: the execution that waits now, and its session."""
    await run(daemon, "send", *words)
    listed = json.loads((await run(daemon, "-o", "json", "executions", "--state", "input_required")).out)
    return listed[0]["id"], listed[0]["session_id"]


async def test_what_waits_in_a_session_is_asked_before_anything_is_said(asking_daemon: Daemon) -> None:
    execution, session = await left_waiting(asking_daemon, "desk", "ann")

    done = await run(asking_daemon, "chat", "desk", "--session", session, stdin="42\nblue\nbob\n7\nred\n")

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "it asks: Which order, ann?",
        "it asks: In which colour is 42?",
        "It is blue, ann",
        "it asks: Which order, bob?",
        "it asks: In which colour is 7?",
        "It is red, bob",
    ]
    shown = json.loads((await run(asking_daemon, "-o", "json", "executions", "show", execution)).out)
    assert shown["output"] == "It is blue, ann"


async def test_of_several_that_wait_in_a_session_the_newest_question_is_the_first(asking_daemon: Daemon) -> None:
    first, session = await left_waiting(asking_daemon, "desk", "ann")
    await left_waiting(asking_daemon, "desk", "bob", "--session", session)
    await run(asking_daemon, "executions", "input", first, "42", "--node", "ask")
    async with asyncio.timeout(60):
        while "In which colour" not in (await run(asking_daemon, "executions", "show", first)).err:
            pass

    done = await run(asking_daemon, "chat", "desk", "--session", session, stdin="blue\n7\n")

    assert done.out.splitlines() == [
        "it asks: In which colour is 42?",
        "It is blue, ann",
        "it asks: Which order, bob?",
        "it asks: In which colour is 7?",
    ]
    assert done.code == 1, "the input has ended before the answer"
    assert "--node colour" in done.err


async def test_on_a_terminal_what_waits_in_a_session_can_end_meanwhile(asking_daemon: Daemon, sits: Sits) -> None:
    execution, session = await left_waiting(asking_daemon, "desk", "ann")
    ann = await sits("chat", "desk", "--session", session)
    await ann.sees("it asks: Which order, ann?", "answer> ")

    await run(asking_daemon, "executions", "cancel", execution, "--reason", "closed for today")

    await ann.sees("it waits for this no longer", "closed for today", "you> ")
    ann.types("\x04")
    assert await ann.ended() == 0


async def test_what_waits_in_a_session_of_somebody_else_is_not_answered(asking_daemon: Daemon, tmp_path: Path) -> None:
    words = await as_sender(asking_daemon, tmp_path, "sessions:own")
    execution, session = await left_waiting(asking_daemon, "desk", "ann")

    done = await (await Process.start(*words, "chat", "desk", "--session", session)).end("42\n")

    assert (done.code, done.out) == (4, "")
    assert await waiting(asking_daemon) == execution


async def test_a_client_goes_on_with_its_own_session(asking_daemon: Daemon, tmp_path: Path) -> None:
    words = await as_sender(asking_daemon, tmp_path, "sessions:own")
    await (await Process.start(*words, "send", "desk", "ann")).end()
    listed = json.loads((await run(asking_daemon, "-o", "json", "executions", "--state", "input_required")).out)

    done = await (await Process.start(*words, "chat", "desk", "--session", listed[0]["session_id"])).end("42\nblue\n")

    assert (done.code, done.out.splitlines()[-1]) == (0, "It is blue, ann")
