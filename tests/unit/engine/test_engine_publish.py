"""Publishing: every subscribed agent but the sender, once, and nobody's failure is another's business."""

import asyncio

import pytest
from engine_rig import PATIENCE, Collector, Echo, Gate, Note, Other, collector, gate, running

from gatewayd.core.agents import AgentId, Message, TopicId
from gatewayd.core.errors import Cancelled, Draining
from gatewayd.engine.context import MessageContext
from gatewayd.engine.events import DropReason, HandlerFailed, MessageDropped
from gatewayd.engine.handlers import HandlerAgent, message_handler
from gatewayd.engine.limits import Limits
from gatewayd.engine.subscriptions import Subscription
from gatewayd.testing.fakes import until

NEWS = TopicId("news")


async def quiet(rig: object) -> None:
    await until(lambda: rig.engine.stats().queued + rig.engine.stats().running == 0)  # type: ignore[attr-defined]


async def test_every_subscriber_gets_it_once_in_the_instance_of_the_source() -> None:
    """Also when several of its subscriptions match."""
    async with running() as rig:
        rig.engine.register("one", Collector, subscriptions=[Subscription("ne", "one", prefix=True)])
        rig.engine.register("two", Collector)
        rig.engine.register("three", Echo)

        assert await rig.engine.publish(Note("x"), TopicId("news", "paris")) == 2
        await quiet(rig)

        assert collector(rig.engine, "one", "paris").got == ["x"]
        assert collector(rig.engine, "two", "paris").got == ["x"]
        assert rig.engine.instances() == [AgentId("one", "paris"), AgentId("two", "paris")]


async def test_it_does_not_come_back_to_the_sender() -> None:
    class Gossip(Collector):
        @message_handler
        async def on_other(self, message: Other, ctx: MessageContext) -> int:
            return await ctx.publish(Note("heard"), NEWS)

    async with running() as rig:
        rig.engine.register("gossip", Gossip)
        rig.engine.register("listener", Collector)

        assert await rig.engine.send(Other(), AgentId("gossip")) == 1
        assert await rig.engine.send(Other(), AgentId("gossip", "elsewhere")) == 2, "another instance is another agent"
        await quiet(rig)

        assert collector(rig.engine, "gossip").got == ["heard"]
        assert collector(rig.engine, "listener").got == ["heard", "heard"]


async def test_a_failure_reaches_neither_the_publisher_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(message: Note, ctx: MessageContext) -> None:
        assert (ctx.topic, ctx.is_rpc) == (NEWS, False)
        raise OSError("disk")

    async with running() as rig:
        rig.engine.register_function("bad", fail, subscriptions=[Subscription("news", "bad")])
        rig.engine.register("good", Collector)
        for text in ("a", "b"):
            assert await rig.engine.publish(Note(text), NEWS) == 2
        await quiet(rig)

        assert collector(rig.engine, "good").got == ["a", "b"]
        failures = rig.told(HandlerFailed)
        assert [(each.agent, each.topic, str(each.error)) for each in failures] == [(AgentId("bad"), NEWS, "disk")] * 2
        assert rig.engine.stats().failed == 2
        assert [record.message for record in caplog.records] == ["message_handler_failed"] * 2


async def test_what_nobody_can_handle_is_a_counted_drop() -> None:
    async with running() as rig:
        rig.engine.register("one", Collector)
        await rig.engine.publish(Other(), NEWS)
        await rig.engine.publish(Message("Unheard", b"{}"), NEWS)
        await rig.engine.publish(Message("Note", b"not json"), NEWS)
        await rig.engine.publish(Message("Note", b'{"text":"read"}'), NEWS)
        await quiet(rig)

        drops = [each.reason for each in rig.told(MessageDropped)]
        assert drops == [DropReason.UNHANDLED, DropReason.UNREADABLE, DropReason.UNREADABLE]
        assert collector(rig.engine, "one").got == ["read"]
        assert rig.engine.stats().dropped == 3
        assert rig.engine.stats().failed == 0


async def test_a_failed_call_within_a_handler_is_a_failure_of_that_handler_and_no_drop() -> None:
    async def ask(message: Note, ctx: MessageContext) -> None:
        await ctx.send(Other(), AgentId("echo"))

    async with running() as rig:
        rig.engine.register("echo", Echo)
        rig.engine.register_function("asker", ask, subscriptions=[Subscription("news", "asker")])
        await rig.engine.publish(Note(""), NEWS)
        await quiet(rig)

        assert not rig.told(MessageDropped)
        assert AgentId("asker") in {each.agent for each in rig.told(HandlerFailed)}


async def test_a_publisher_does_not_wait_and_a_full_queue_misses_the_message() -> None:
    async with running(limits=Limits(queue=2)) as rig:
        rig.engine.register("gate", Gate, subscriptions=[Subscription("news", "gate")])
        rig.engine.register("one", Collector)
        one = await gate(rig.engine)
        taken = []
        for number in range(4):
            taken.append(await rig.engine.publish(Note(str(number)), NEWS))
            await rig.clock.settle()

        assert taken == [2, 2, 2, 1]
        assert [(each.reason, each.agent) for each in rig.told(MessageDropped)] == [
            (DropReason.OVERLOADED, AgentId("gate"))
        ]
        one.open.set()
        await quiet(rig)
        assert one.ended == ["0", "1", "2"]
        assert collector(rig.engine, "one").got == ["0", "1", "2", "3"]


@pytest.mark.parametrize("agents", [1, 400])
async def test_who_publishes_in_a_loop_does_not_outrun_handlers_that_do_not_wait(agents: int) -> None:
    """Neither of the loops has another await, and each publishes more than the queues hold."""
    async with running(limits=Limits(queue=20), sink=None) as rig:
        for number in range(agents):
            rig.engine.register(f"one{number}", Collector)
        for number in range(200):
            assert await rig.engine.publish(Note(str(number)), NEWS) == agents
        await quiet(rig)

        assert collector(rig.engine, "one0").got == [str(n) for n in range(200)]
        assert rig.engine.stats().dropped == 0


@pytest.mark.parametrize("way", ["stop", "stop_when_idle", "stop_when"])
async def test_where_exceptions_are_not_ignored_one_stops_the_engine_and_is_raised_there(way: str) -> None:
    async def fail(message: Note, ctx: MessageContext) -> None:
        raise OSError("disk")

    async with running(ignore_unhandled_exceptions=False) as rig:
        engine = rig.engine
        engine.register_function("bad", fail, subscriptions=[Subscription("news", "bad")])
        engine.register("gate", Gate)
        one = await gate(engine)
        calls = [asyncio.create_task(engine.send(Note(name), AgentId("gate"))) for name in ("runs", "waits")]
        await until(lambda: one.begun == ["runs"])
        await engine.publish(Note(""), NEWS)
        await until(calls[1].done)
        with pytest.raises(Draining):
            await engine.send(Note(""), AgentId("gate"))
        one.open.set()

        ways = {"stop": engine.stop, "stop_when_idle": engine.stop_when_idle}
        stopping = engine.stop_when(lambda: False) if way == "stop_when" else ways[way]()
        with pytest.raises(OSError, match="disk"):
            await rig.clock.run(stopping)

        assert await asyncio.wait_for(calls[0], PATIENCE) == "runs", "what ran was let end"
        with pytest.raises(Cancelled):
            await calls[1]


async def test_who_waits_for_idleness_is_told_of_the_failure_though_something_else_runs_on() -> None:
    async def fail(message: Note, ctx: MessageContext) -> None:
        raise OSError("disk")

    async with running(ignore_unhandled_exceptions=False) as rig:
        rig.engine.register_function("bad", fail, subscriptions=[Subscription("news", "bad")])
        rig.engine.register("gate", Gate)
        call = asyncio.create_task(rig.engine.send(Note(""), AgentId("gate")))
        await until(lambda: rig.engine.stats().running == 1)
        stopping = asyncio.create_task(rig.engine.stop_when_idle())
        await rig.engine.publish(Note(""), NEWS)
        await rig.clock.advance(12.0)

        with pytest.raises(OSError, match="disk"):
            await asyncio.wait_for(stopping, PATIENCE)
        with pytest.raises(Cancelled):
            await call


async def test_an_error_for_a_caller_never_stops_the_engine() -> None:
    class Bad(HandlerAgent):
        @message_handler
        async def on_note(self, message: Note, ctx: MessageContext) -> None:
            raise OSError("disk")

    async with running(ignore_unhandled_exceptions=False) as rig:
        rig.engine.register("bad", Bad)
        for _ in range(2):
            with pytest.raises(OSError, match="disk"):
                await rig.engine.send(Note(""), AgentId("bad"))


async def test_the_deadline_of_a_published_message_is_each_handlers_own() -> None:
    async with running() as rig:
        rig.engine.register("gate", Gate, subscriptions=[Subscription("news", "gate")])
        one = await gate(rig.engine)
        await rig.engine.publish(Note("runs"), NEWS, timeout=5.0)
        await rig.engine.publish(Note("waits"), NEWS, timeout=5.0)
        await until(lambda: one.begun == ["runs"])
        await rig.clock.advance(6.0)

        assert one.cancelled == ["runs"]
        assert [each.reason for each in rig.told(MessageDropped)] == [DropReason.EXPIRED]
        assert [type(each.error).__name__ for each in rig.told(HandlerFailed)] == ["DeadlineExceeded"]
