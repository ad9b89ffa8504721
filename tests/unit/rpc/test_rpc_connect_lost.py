"""What a client leaves behind whose stream ends in whatever way, and what its next connection gets."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from connect_rig import EOF
from rpc_rig import Aborted

from gatewayd.conversation.sends import Waiting
from gatewayd.core.frames import Reply
from gatewayd.core.work import ExecutionState


async def test_a_client_that_half_closes_leaves_nothing_behind(line):
    stream, task = await line.open("done")
    stream.says.put_nowait(EOF)
    await line.clock.advance(1.0)
    await task
    again, _ = await line.open("done", stream.welcome.resume_token)
    assert not again.welcome.resumed
    assert await line.reasons() == ["closed"]


async def test_a_client_that_is_cut_off_is_held_for_lost(line):
    stream, task = await line.open("lost")
    task.cancel()
    await line.clock.settle()
    again, _ = await line.open("lost", stream.welcome.resume_token)
    assert again.welcome.resumed
    assert await line.reasons() == ["connection_lost"]


async def test_what_is_addressed_to_a_client_and_could_not_be_written_comes_on_its_next_connection(line):
    stream, task = await line.open("lost")
    await line.tell("lost", "a")
    stream.broken = True
    await line.tell("lost", "b", "c")
    await task
    await line.tell("lost", "d")
    again, _ = await line.open("lost", stream.welcome.resume_token)
    assert (stream.events, again.events) == (["a"], ["b", "c", "d"])


async def test_a_client_whose_welcome_was_lost_resumes_with_the_token_that_it_has(line):
    """It knows of no other: what the connection before had left is still its own, however often that happens."""
    stream, task = await line.open("unlucky")
    stream.subscribe("s")
    await line.clock.settle()
    task.cancel()
    await line.clock.settle()
    token = stream.welcome.resume_token
    for _ in range(3):
        _, task = await line.open("unlucky", token, broken=True)
        await task
    again, task = await line.open("unlucky", token)
    assert again.welcome.resumed
    assert [one.subscription_id for one in again.welcome.lost] == ["s"]

    task.cancel()
    await line.clock.settle()
    later, task = await line.open("unlucky", again.welcome.resume_token)
    assert [one.subscription_id for one in later.welcome.lost] == ["s"], "it was not taken up"
    later.ping()
    await line.clock.settle()
    task.cancel()
    await line.clock.settle()
    stale, _ = await line.open("unlucky", again.welcome.resume_token)
    assert not stale.welcome.resumed, "it has spoken behind a younger one"


async def test_a_reply_that_followed_a_welcome_which_was_lost_comes_again(line):
    """Who does not know of the connection cannot have its reply; who has spoken on it has it."""
    waiting, ended = Waiting("ask", "e1", "m1", partial_replies=False, deadline=0.0), asyncio.Event()

    async def submit(_send: Any, _caller: Any) -> Any:
        return SimpleNamespace(accepted=SimpleNamespace(execution_id="e1", message_id="m1", duplicate=False)), waiting

    async def reply(one: Waiting, _put: Any) -> Reply:
        await ended.wait()
        return Reply(one.request_id, "e1", "m1", "hi", final=True, state=ExecutionState.SUCCEEDED)

    line.rig.sends.submit, line.rig.sends.reply = submit, reply
    stream, task = await line.open("unlucky")
    stream.ask("ask")
    await line.clock.settle()
    task.cancel()
    await line.clock.settle()
    ended.set()
    token = stream.welcome.resume_token
    unheard, task = await line.open("unlucky", token)
    assert unheard.replies == ["ask"]
    task.cancel()
    await line.clock.settle()

    heard, task = await line.open("unlucky", token)
    assert heard.replies == ["ask"]
    heard.ping()
    await line.clock.settle()
    task.cancel()
    await line.clock.settle()
    again, _ = await line.open("unlucky", heard.welcome.resume_token)
    assert (again.welcome.resumed, again.replies) == (True, [])


@pytest.mark.parametrize("by", ["a hello", "a publish"])
async def test_what_nobody_came_for_is_told_whoever_finds_out(line, caplog, by):
    _, task = await line.open("gone")
    task.cancel()
    await line.clock.settle()
    await line.tell("gone", "a", "b")
    await line.clock.advance(61.0)
    with caplog.at_level("INFO", "gatewayd.conversation"):
        if by == "a hello":
            await line.open("another")
        else:
            with pytest.raises(Aborted):
                await line.tell("gone", "late")
    (told,) = [each for each in caplog.records if each.message == "addressed_events_expired"]
    assert told.events == 2


async def test_who_was_displaced_went_for_that(line):
    await line.open("twin")
    await line.open("twin")
    assert await line.reasons() == ["replaced"]


async def test_a_connection_that_was_displaced_while_it_was_written_to_is_not_served_any_more(line):
    """What it asks for would be done in the name of the client whose next connection is there."""
    first, _ = await line.open("twin")
    first.reads.clear()
    first.ping()
    await line.clock.settle()
    await line.open("twin")
    first.subscribe("late")
    await line.clock.settle()
    assert line.rig.bus.stats().subscriptions == 0
    first.reads.set()
