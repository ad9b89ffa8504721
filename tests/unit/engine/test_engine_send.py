"""Sending: the reply or the handler's error, one handler by type, and a verdict in every other case."""

import asyncio

import pytest
from engine_rig import PATIENCE, Answer, Echo, Gate, Note, Other, gate, running

from gatewayd.core.agents import AgentId
from gatewayd.core.errors import AgentNotFound, Cancelled, DeadlineExceeded, InvalidArgument, LimitExceeded
from gatewayd.engine.context import Belonging, MessageContext
from gatewayd.engine.errors import CallCycle, UnhandledMessage
from gatewayd.engine.handlers import HandlerAgent, message_handler
from gatewayd.engine.lane import concurrent
from gatewayd.engine.limits import Limits
from gatewayd.testing.fakes import until


async def test_the_caller_gets_the_reply() -> None:
    async with running() as rig:
        rig.engine.register("echo", Echo)

        assert await rig.engine.send(Note("hello"), AgentId("echo")) == Answer("hello")


async def test_the_caller_gets_the_very_error_that_the_handler_raised() -> None:
    refusal = ValueError("no")

    async def refuse(message: Note, ctx: MessageContext) -> None:
        raise refusal

    async def refuse_later(message: Note, ctx: MessageContext) -> None:
        await asyncio.sleep(0)
        raise refusal

    async with running() as rig:
        rig.engine.register_function("at_once", refuse)
        rig.engine.register_function("later", refuse_later)
        for agent_type in ("at_once", "later"):
            with pytest.raises(ValueError, match="no") as raised:
                await rig.engine.send(Note(""), AgentId(agent_type))
            assert raised.value is refusal
        assert rig.engine.stats().failed == 2


async def test_an_unknown_recipient_is_refused_at_once_and_leaves_nothing_behind() -> None:
    """The peers count such a send as queued for ever, and never become idle again."""
    async with running() as rig:
        with pytest.raises(AgentNotFound):
            await rig.engine.send(Note(""), AgentId("nobody"))

        await asyncio.wait_for(rig.engine.stop_when_idle(), PATIENCE)


async def test_a_message_goes_to_the_handler_of_its_type() -> None:
    class Loud(Other):
        pass

    class Router(HandlerAgent):
        @message_handler(match=lambda message, ctx: message.number < 0)
        async def on_negative(self, message: Note, ctx: MessageContext) -> str:
            return "negative"

        @message_handler
        async def on_note(self, message: Note | str, ctx: MessageContext) -> str:
            return "note or text"

        @message_handler
        async def on_other(self, message: Other, ctx: MessageContext) -> str:
            return "other"

    async with running() as rig:
        rig.engine.register("router", Router)
        router = AgentId("router")
        assert await rig.engine.send(Note("", -1), router) == "negative"
        assert await rig.engine.send(Note("", 1), router) == "note or text"
        assert await rig.engine.send("x", router) == "note or text"
        assert await rig.engine.send(Loud(), router) == "other"
        for _ in range(2):
            with pytest.raises(UnhandledMessage):
                await rig.engine.send(1.5, router)


def test_a_handler_that_could_never_be_asked_is_refused_when_it_is_registered() -> None:
    class Twice(HandlerAgent):
        @message_handler
        async def first(self, message: Note, ctx: MessageContext) -> None: ...

        @message_handler
        async def second(self, message: Note, ctx: MessageContext) -> None: ...

    class Bare(HandlerAgent):
        @message_handler
        async def first(self, message, ctx) -> None: ...  # type: ignore[no-untyped-def]

    for wrong in (Twice, Bare):
        with pytest.raises(TypeError):
            wrong.routes()


async def test_a_handler_knows_the_circumstances_of_its_message() -> None:
    seen: list[MessageContext] = []

    class Asker(HandlerAgent):
        @message_handler
        async def on_note(self, message: Note, ctx: MessageContext) -> object:
            return await ctx.send(Other(), AgentId("asked", "7"), timeout=500.0)

    async def look(message: Other, ctx: MessageContext) -> None:
        seen.append(ctx)
        assert ctx.message_id == ctx.message_id != ""

    async with running() as rig:
        rig.engine.register("asker", Asker)
        rig.engine.register_function("asked", look)
        belonging = Belonging("session-1", "execution-1", "ada")
        began = rig.clock.monotonic()
        await rig.engine.send(Note(""), AgentId("asker"), timeout=30.0, belonging=belonging)
        (ctx,) = seen

        assert (ctx.agent, ctx.sender, ctx.topic, ctx.is_rpc) == (AgentId("asked", "7"), AgentId("asker"), None, True)
        assert ctx.deadline == began + 30.0, "a deadline within another is never later"
        assert (ctx.belonging, ctx.session_id) == (belonging, "session-1")
        assert not ctx.cancellation_token.is_cancelled()
        await rig.engine.send(Other(), AgentId("asked"), message_id="mine")
        assert seen[-1].message_id == "mine"
        assert seen[-1].sender is None


async def test_every_call_has_a_deadline_whether_it_waits_or_runs() -> None:
    async with running(limits=Limits(timeout=5.0)) as rig:
        rig.engine.register("gate", Gate)
        one = await gate(rig.engine)
        calls = [asyncio.create_task(rig.engine.send(Note(name), AgentId("gate"))) for name in ("runs", "waits")]
        await until(lambda: one.begun == ["runs"])
        await rig.clock.advance(4.9)
        assert not any(call.done() for call in calls)
        await rig.clock.advance(0.2)

        for call in calls:
            with pytest.raises(DeadlineExceeded):
                await call
        assert (one.begun, one.cancelled) == (["runs"], ["runs"])
        assert rig.engine.stats().expired == 2
        for wrong in (0, -1, float("nan"), 1e9):
            with pytest.raises(InvalidArgument):
                await rig.engine.send(Note(""), AgentId("gate"), timeout=wrong)


async def test_a_full_queue_refuses_and_what_it_has_is_handled() -> None:
    async with running(limits=Limits(queue=3)) as rig:
        rig.engine.register("gate", Gate)
        one = await gate(rig.engine)
        calls = [asyncio.create_task(rig.engine.send(Note(str(n)), AgentId("gate"))) for n in range(1)]
        await until(lambda: len(one.begun) == 1)
        calls += [asyncio.create_task(rig.engine.send(Note(str(n)), AgentId("gate"))) for n in range(1, 4)]
        await until(lambda: rig.engine.stats().queued == 3)

        with pytest.raises(LimitExceeded) as refused:
            await rig.engine.send(Note("4"), AgentId("gate"))

        assert refused.value.metadata["limit"] == "engine.queue"
        one.open.set()
        assert await asyncio.gather(*calls) == ["0", "1", "2", "3"]


async def test_the_whole_engine_has_a_bound_too() -> None:
    async with running(limits=Limits(messages=2)) as rig:
        rig.engine.register("gate", Gate)
        one = await gate(rig.engine)
        calls = [asyncio.create_task(rig.engine.send(Note(""), AgentId("gate", str(n)))) for n in range(2)]
        await until(lambda: rig.engine.stats().running == 2)

        with pytest.raises(LimitExceeded) as refused:
            await rig.engine.send(Note(""), AgentId("gate"))

        assert refused.value.metadata["limit"] == "engine.messages"
        assert not one.begun
        for call in calls:
            call.cancel()
        await until(lambda: rig.engine.stats().running == 0)


async def test_a_caller_that_gives_up_ends_its_call() -> None:
    """Withdrawn if it waits, interrupted if it runs."""
    async with running() as rig:
        rig.engine.register("gate", Gate)
        one = await gate(rig.engine)
        calls = [asyncio.create_task(rig.engine.send(Note(name), AgentId("gate"))) for name in ("a", "b", "c")]
        await until(lambda: one.begun == ["a"])
        calls[0].cancel()
        calls[1].cancel()
        await until(lambda: one.begun == ["a", "c"])
        one.open.set()

        assert await calls[2] == "c"
        assert (one.cancelled, one.ended) == (["a"], ["c"])
        assert all(call.cancelled() for call in calls[:2])


class Caller(HandlerAgent):
    @message_handler
    async def on_note(self, message: Note, ctx: MessageContext) -> object:
        return await ctx.send(Other(message.text), AgentId("callee"))

    @message_handler
    async def on_other(self, message: Other, ctx: MessageContext) -> str:
        return "reached"


async def back(message: Other, ctx: MessageContext) -> object:
    return await ctx.send(Other(), AgentId("caller"))


async def test_a_circle_of_calls_is_told_at_once_where_it_could_never_end() -> None:
    async with running() as rig:
        rig.engine.register("caller", Caller)
        rig.engine.register("wide", Caller, order=concurrent(2))
        rig.engine.register_function("callee", back)

        with pytest.raises(CallCycle):
            await rig.engine.send(Note(""), AgentId("caller"))
        assert await rig.engine.send(Note(""), AgentId("wide")) == "reached"


async def test_what_a_handler_raises_as_its_own_cancellation_is_a_verdict_for_the_caller() -> None:
    async def lost(message: Note, ctx: MessageContext) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async with running() as rig:
        rig.engine.register_function("lost", lost)
        rig.engine.register("echo", Echo)
        with pytest.raises(Cancelled):
            await rig.engine.send(Note(""), AgentId("lost"))
        assert await rig.engine.send(Note("still here"), AgentId("echo")) == Answer("still here")
