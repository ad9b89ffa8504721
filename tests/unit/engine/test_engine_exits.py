"""Handlers that end by what is no error: an exit, a group of them, a cancellation of their own."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from engine_rig import PATIENCE, Answer, Note, running

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.errors import GatewayError
from gatewayd.engine.context import MessageContext
from gatewayd.engine.events import AgentNotMade, HandlerFailed
from gatewayd.engine.handlers import HandlerAgent, message_handler


class Odd(BaseException):
    """Neither an error nor the interpreter's own."""


ENDS = [SystemExit("out"), Odd("x"), BaseExceptionGroup("many", [SystemExit(3)])]


class Ends(HandlerAgent):
    """Ends as it is told, at its first step or later; answers all other notes."""

    topics = ("news",)
    end: BaseException = SystemExit()
    where = "never"

    @message_handler
    async def on_note(self, message: Note, ctx: MessageContext) -> Answer:
        if message.text == "later":
            await asyncio.sleep(0)
        if message.text == "cancel":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.Event().wait()
        if message.text == "cancel at last":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        if message.text == "waits":
            await asyncio.sleep(0)
        if message.text in ("now", "later"):
            raise self.end
        return Answer(message.text)

    async def load_state(self, state: Mapping[str, Any], /) -> None:
        if self.where == "load":
            raise self.end

    async def close(self) -> None:
        if self.where == "close":
            raise self.end


@pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end).__name__)
async def test_its_caller_gets_an_error_at_once_and_the_instance_handles_the_next(end: BaseException) -> None:
    """It would end the daemon out of a task, and leave the instance at work for ever."""
    Ends.end = end
    async with running() as rig:
        rig.engine.register("ends", Ends)
        for when in ("now", "later"):
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(GatewayError, match=f"ends/default ended by {type(end).__name__}") as raised:
                    await rig.engine.send(Note(when), AgentId("ends"))
            assert raised.value.__cause__ is end
            assert await rig.engine.publish(Note(when), TopicId("news")) == 1
        assert await rig.engine.send(Note("next"), AgentId("ends")) == Answer("next")
        assert len(rig.told(HandlerFailed)) == 4


async def test_a_handler_that_cancels_itself_fails_and_the_instance_handles_the_next() -> None:
    async with running() as rig:
        rig.engine.register("ends", Ends)
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(GatewayError, match="was cancelled"):
                await rig.engine.send(Note("cancel"), AgentId("ends"))
            assert await rig.engine.send(Note("next"), AgentId("ends")) == Answer("next")


async def test_a_handler_that_cancels_itself_in_its_only_step_cuts_no_other_off() -> None:
    async with running() as rig:
        rig.engine.register("ends", Ends)
        async with asyncio.timeout(PATIENCE):
            asked = (rig.engine.send(Note(text), AgentId("ends", text)) for text in ("cancel at last", "waits"))
            assert await asyncio.gather(*asked) == [Answer("cancel at last"), Answer("waits")]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end).__name__)
async def test_what_cannot_be_made_fails_its_messages(end: BaseException) -> None:
    def at_once() -> Ends:
        raise end

    async def later() -> Ends:
        await asyncio.sleep(0)
        raise end

    async with running() as rig:
        rig.engine.register("at_once", at_once)
        rig.engine.register("later", later)
        for agent_type in ("at_once", "later"):
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(GatewayError, match="could not be made"):
                    await rig.engine.send(Note("x"), AgentId(agent_type))
        assert len(rig.told(AgentNotMade)) == 2


async def test_what_ends_while_it_is_closed_keeps_nothing_from_being_closed() -> None:
    class Closes(Ends):
        where = "close"
        end = SystemExit()

    async with running() as rig:
        rig.engine.register("ends", Closes)
        assert await rig.engine.send(Note("x"), AgentId("ends")) == Answer("x")
