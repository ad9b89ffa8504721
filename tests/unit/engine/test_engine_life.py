"""The life of an engine: whatever is in flight, a stop ends, and nobody who waits is left waiting."""

import asyncio

import pytest
from engine_rig import PATIENCE, Answer, Collector, Echo, Gate, Note, Rig, collector, gate, running

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.errors import Cancelled, DeadlineExceeded, Draining
from gatewayd.core.lifecycle import State
from gatewayd.engine.base import Passage
from gatewayd.engine.cancellation import CancellationToken
from gatewayd.engine.context import MessageContext
from gatewayd.engine.errors import EngineMisused, MessageRefused
from gatewayd.engine.events import DropReason, MessageDropped
from gatewayd.engine.handlers import HandlerAgent, message_handler
from gatewayd.engine.lane import concurrent
from gatewayd.engine.subscriptions import Subscription
from gatewayd.service import Deadline
from gatewayd.testing.fakes import until


@pytest.mark.parametrize("agents", [1, 1000])
async def test_a_stop_with_a_thousand_calls_in_flight_answers_every_one(agents: int) -> None:
    """In the peers all of them wait for ever: their replies go into a queue that was shut or replaced."""
    async with running() as rig:
        rig.engine.register("gate", Gate)
        sends = [rig.engine.send(Note(str(n)), AgentId("gate", str(n % agents))) for n in range(1000)]
        calls = [asyncio.create_task(each) for each in sends]
        await until(lambda: rig.engine.stats().running == agents)

        await asyncio.wait_for(rig.engine.stop(Deadline(rig.clock, 0.0)), PATIENCE)

        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE)
        assert {type(each) for each in outcomes} == {Cancelled}
        assert rig.engine.stats().queued == rig.engine.stats().running == 0
        with pytest.raises(Draining):
            await rig.engine.send(Note(""), AgentId("gate"))


async def test_running_handlers_may_end_within_the_budget_and_are_cancelled_after_it() -> None:
    async with running() as rig:
        rig.engine.register("gate", Gate)
        rig.engine.register("stuck", Gate)
        calls = [asyncio.create_task(rig.engine.send(Note(name), AgentId(name))) for name in ("gate", "stuck")]
        one, stuck = await gate(rig.engine), await gate(rig.engine, "stuck")
        await until(lambda: bool(one.begun and stuck.begun))
        stopping = asyncio.create_task(rig.engine.stop(Deadline(rig.clock, 30.0)))
        await rig.clock.advance(29.0)
        one.open.set()

        assert await asyncio.wait_for(calls[0], PATIENCE) == "gate"
        assert not stopping.done()
        await rig.clock.advance(2.0)
        with pytest.raises(Cancelled):
            await calls[1]
        await asyncio.wait_for(stopping, PATIENCE)
        assert stuck.cancelled == ["stuck"]
        assert rig.engine.state is State.STOPPED


async def test_a_stop_that_is_itself_cancelled_leaves_nobody_waiting() -> None:
    async with running() as rig:
        rig.engine.register("gate", Gate)
        calls = [asyncio.create_task(rig.engine.send(Note(str(n)), AgentId("gate"))) for n in range(3)]
        await until(lambda: rig.engine.stats().running == 1)
        stopping = asyncio.create_task(rig.engine.stop())
        await rig.clock.settle()
        stopping.cancel()

        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE)
        assert {type(each) for each in outcomes} == {Cancelled}
        assert rig.engine.state is State.STOPPED


async def test_a_handler_that_will_not_be_cancelled_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    release = asyncio.Event()

    async def stubborn(message: Note, ctx: MessageContext) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    rig = Rig()
    await rig.engine.start()
    rig.engine.register_function("stubborn", stubborn)
    call = asyncio.create_task(rig.engine.send(Note(""), AgentId("stubborn")))
    await until(lambda: rig.engine.stats().running == 1)

    await rig.clock.run(rig.engine.stop())

    with pytest.raises(Cancelled):
        await call
    assert "handlers_left_behind" in [record.message for record in caplog.records]
    assert rig.engine.stats().running == 1, "it is told that it still runs"
    release.set()
    await until(lambda: rig.engine.stats().running == 0)


async def test_starting_twice_and_stopping_when_stopped_are_typed_errors() -> None:
    rig = Rig()
    for stop in (rig.engine.stop, rig.engine.stop_when_idle):
        with pytest.raises(EngineMisused):
            await stop()
    await rig.engine.start()
    with pytest.raises(EngineMisused):
        await rig.engine.start()
    with pytest.raises(EngineMisused):
        await rig.engine.process_next()
    await rig.engine.stop()
    with pytest.raises(EngineMisused):
        await rig.engine.stop()
    with pytest.raises(EngineMisused):
        await rig.engine.stop_when(lambda: True)
    await rig.engine.start()
    rig.engine.register("echo", Echo)
    assert await rig.engine.send(Note("again"), AgentId("echo")) == Answer("again")
    await rig.engine.close()
    await rig.engine.close()
    with pytest.raises(EngineMisused):
        await rig.engine.start()


async def test_a_handler_cannot_stop_the_engine_that_it_runs_in() -> None:
    async with running() as rig:

        async def stop(message: Note, ctx: MessageContext) -> None:
            await rig.engine.stop()

        rig.engine.register_function("stop", stop)
        with pytest.raises(EngineMisused):
            await rig.engine.send(Note(""), AgentId("stop"))
        assert rig.engine.state is State.RUNNING


async def test_idle_is_when_nothing_waits_and_nothing_runs() -> None:
    """What handlers cause while the engine is asked to become idle counts too."""

    class Chain(HandlerAgent):
        @message_handler
        async def on_note(self, message: Note, ctx: MessageContext) -> None:
            await asyncio.sleep(0)
            if message.number:
                await ctx.publish(Note("", message.number - 1), TopicId("chain" if message.number % 2 else "other"))

    async with running() as rig:
        for name in ("chain", "other"):
            rig.engine.register(name, Chain, subscriptions=[Subscription(name, name)])
        await rig.engine.publish(Note("", 50), TopicId("chain"))
        await asyncio.wait_for(rig.engine.stop_when_idle(), PATIENCE)

        assert rig.engine.stats().delivered == 51
        assert rig.engine.state is State.STOPPED


async def test_a_wait_for_idleness_has_an_end_of_its_own() -> None:
    async with running() as rig:
        rig.engine.register("gate", Gate)
        call = asyncio.create_task(rig.engine.send(Note(""), AgentId("gate")))
        with pytest.raises(DeadlineExceeded):
            await rig.clock.run(rig.engine.stop_when_idle(timeout=5.0))
        assert rig.engine.state is State.RUNNING
        (await gate(rig.engine)).open.set()
        await call


async def test_an_engine_is_idle_after_an_error_for_a_caller_who_has_gone() -> None:
    """In the peers the error of a handler whose caller was cancelled is never counted as done."""
    finish = asyncio.Event()

    async def fail_late(message: Note, ctx: MessageContext) -> None:
        try:
            await finish.wait()
        finally:
            raise ValueError("too late")

    async with running() as rig:
        rig.engine.register_function("late", fail_late)
        call = asyncio.create_task(rig.engine.send(Note(""), AgentId("late")))
        await until(lambda: rig.engine.stats().running == 1)
        call.cancel()
        await asyncio.wait_for(rig.engine.stop_when_idle(), PATIENCE)
        assert call.cancelled()


async def test_an_engine_is_idle_after_the_admission_dropped_or_raised() -> None:
    """In the peers a message that an intervention drops is never counted as done."""

    async def admit(message: object, passage: Passage) -> object:
        if message == Note("drop"):
            raise MessageRefused("not this one")
        if message == Note("raise"):
            raise PermissionError("not you")
        return Note("admitted")

    async with running(admit=admit) as rig:
        rig.engine.register("one", Collector)
        assert await rig.engine.send(Note("x"), AgentId("one")) == 1
        for text, verdict in (("drop", MessageRefused), ("raise", PermissionError)):
            with pytest.raises(verdict):
                await rig.engine.send(Note(text), AgentId("one"))
        assert await rig.engine.publish(Note("drop"), TopicId("news")) == 0
        await asyncio.wait_for(rig.engine.stop_when_idle(), PATIENCE)

        assert collector(rig.engine, "one").got == ["admitted"]
        assert [each.reason for each in rig.told(MessageDropped)] == [DropReason.REFUSED]


async def test_an_admission_that_takes_too_long_is_cut_at_the_deadline_of_the_call() -> None:
    async def admit(message: object, passage: Passage) -> object:
        await asyncio.Event().wait()
        return message

    async with running(admit=admit) as rig:
        rig.engine.register("one", Collector)
        with pytest.raises(DeadlineExceeded):
            await rig.clock.run(rig.engine.send(Note(""), AgentId("one"), timeout=5.0))


async def test_a_stop_when_something_holds_looks_after_each_message_and_now_and_then() -> None:
    async with running() as rig:
        rig.engine.register("one", Collector)
        asked = 0

        def enough() -> bool:
            nonlocal asked
            asked += 1
            return bool(rig.engine.instances()) and len(collector(rig.engine, "one").got) >= 3

        stopping = asyncio.create_task(rig.engine.stop_when(enough))
        for _ in range(2):
            await rig.engine.publish(Note(""), TopicId("news"))
        await rig.clock.settle()
        assert asked == 3, "once at first, and after each message: it is no busy loop"
        await rig.engine.publish(Note(""), TopicId("news"))
        await asyncio.wait_for(stopping, PATIENCE)

    async with running() as rig:
        flag = asyncio.Event()
        stopping = asyncio.create_task(rig.engine.stop_when(flag.is_set))
        await rig.clock.settle()
        flag.set()
        await rig.clock.advance(1.0)
        await asyncio.wait_for(stopping, PATIENCE)

    async with running() as rig:
        with pytest.raises(ZeroDivisionError):
            await rig.engine.stop_when(lambda: bool(1 / 0))
        assert rig.engine.state is State.RUNNING


async def test_a_close_closes_every_agent_and_ends_what_waits() -> None:
    rig = Rig()
    rig.engine.register("one", Collector, order=concurrent(2))
    made = collector(rig.engine, (await rig.engine.get("one", lazy=False)).type)
    call = asyncio.create_task(rig.engine.send(Note(""), AgentId("one"), cancellation_token=CancellationToken()))
    await rig.clock.settle()

    await rig.engine.close()

    with pytest.raises(Cancelled):
        await call
    assert made.closed == 1
    assert rig.engine.instances() == []
