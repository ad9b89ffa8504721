"""Instances: made once at the first message, by their factory, and put away when they are idle."""

import asyncio
from contextvars import ContextVar

import pytest
from engine_rig import Answer, Collector, Echo, Gate, Note, Rig, gate, running

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.errors import AgentNotFound, AlreadyExists, DeadlineExceeded, LimitExceeded, Unavailable
from gatewayd.engine.base import constructing
from gatewayd.engine.context import MessageContext
from gatewayd.engine.errors import AgentTypeExists, ConstructionFailed, EngineMisused, SubscriptionExists
from gatewayd.engine.events import AgentNotMade, DropReason, MessageDropped
from gatewayd.engine.handlers import HandlerAgent, message_handler
from gatewayd.engine.limits import Limits
from gatewayd.engine.subscriptions import Subscription
from gatewayd.testing.fakes import until


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_thousand_first_messages_at_once_make_one_instance(kind: str) -> None:
    """In the peers an async factory makes two when two messages come first, and the second takes the first's place."""
    made = 0

    def make() -> Collector:
        nonlocal made
        made += 1
        return Collector()

    async def make_slowly() -> Collector:
        await asyncio.sleep(0)
        return make()

    async with running() as rig:
        rig.engine.register("one", make if kind == "sync" else make_slowly)
        numbers = await asyncio.gather(*(rig.engine.send(Note(str(n)), AgentId("one")) for n in range(1000)))

        assert made == 1
        assert numbers == list(range(1, 1001)), "in the order of sending"
        assert await rig.engine.get("one", lazy=False) == AgentId("one")
        assert made == 1


async def test_what_comes_while_an_instance_is_made_waits_for_that_one() -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    made: list[Collector] = []

    async def make() -> Collector:
        made.append(Collector())
        begun.set()
        await go.wait()
        return made[-1]

    async with running() as rig, asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        rig.engine.register("one", make)
        sent = [tasks.create_task(rig.engine.send(Note("0"), AgentId("one")))]
        await begun.wait()
        sent += [tasks.create_task(rig.engine.send(Note(str(n)), AgentId("one"))) for n in range(1, 10)]
        asked = tasks.create_task(rig.engine.get("one", lazy=False))
        for _ in range(10):  # so that they are on their way
            await asyncio.sleep(0)
        go.set()
        numbers = await asyncio.gather(*sent)

        assert await asked == AgentId("one")
        assert len(made) == 1
        assert numbers == list(range(1, 11))


async def test_a_factory_can_read_which_agent_it_makes_and_for_whom() -> None:
    seen: list[object] = []

    async def make() -> Echo:
        seen.append(constructing())
        await asyncio.sleep(0)
        assert constructing() is seen[0]
        return Echo()

    async with running() as rig:
        rig.engine.register("echo", make)
        await rig.engine.send(Note(""), AgentId("echo", "7"))
        one = rig.engine.instance(AgentId("echo", "7"))
        assert isinstance(one, Echo)
        assert (one.id, one.engine) == (AgentId("echo", "7"), rig.engine)
    with pytest.raises(RuntimeError):
        constructing()
    with pytest.raises(RuntimeError):
        Echo()


async def test_an_instance_is_made_when_it_is_asked_for_only_if_so_wished() -> None:
    async with running() as rig:
        rig.engine.register("echo", Echo)
        assert await rig.engine.get("echo", "x") == AgentId("echo", "x")
        assert rig.engine.instances() == []
        await rig.engine.get("echo", "x", lazy=False)
        assert rig.engine.instances() == [AgentId("echo", "x")]
        with pytest.raises(AgentNotFound):
            await rig.engine.get("nobody")
        with pytest.raises(AgentNotFound):
            rig.engine.instance(AgentId("echo", "y"))


async def test_a_type_is_registered_once_and_a_refused_registration_changes_nothing() -> None:
    async with running() as rig:
        rig.engine.register("one", Collector)
        before = rig.engine.subscriptions()
        with pytest.raises(AgentTypeExists) as refused:
            rig.engine.register("one", Echo)
        assert isinstance(refused.value, AlreadyExists)
        twice = [Subscription("x", "two"), Subscription("x", "two", id="again")]
        with pytest.raises(SubscriptionExists):
            rig.engine.register("two", Echo, subscriptions=twice)

        assert rig.engine.subscriptions() == before
        assert rig.engine.agent_types() == ("one",)


@pytest.mark.parametrize("kind", ["sync", "async", "of another class"])
async def test_a_failed_construction_is_told_and_fails_what_waits_for_it(kind: str) -> None:
    broken = True

    def make() -> object:
        if not broken:
            return Echo()
        if kind == "of another class":
            return Collector()
        raise OSError("no model")

    async def make_slowly() -> object:
        await asyncio.sleep(0)
        return make()

    factory = make_slowly if kind == "async" else make
    async with running() as rig:
        rig.engine.register("echo", factory, expected_class=Echo, subscriptions=[Subscription("t", "echo")])  # type: ignore[arg-type]
        calls = [asyncio.create_task(rig.engine.send(Note(""), AgentId("echo"))) for _ in range(3)]
        await asyncio.sleep(0)
        await rig.engine.publish(Note("p"), TopicId("t"))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)

        assert {type(each) for each in outcomes} == {ConstructionFailed}
        assert all(isinstance(each, ConstructionFailed) and each.__cause__ for each in outcomes)
        assert [each.agent for each in rig.told(AgentNotMade)] == [AgentId("echo")]
        assert [each.reason for each in rig.told(MessageDropped)] == [DropReason.NOT_CONSTRUCTED]
        assert rig.engine.instances() == []
        broken = False
        assert await rig.engine.send(Note("x"), AgentId("echo")) == Answer("x"), "the next message tries again"


async def test_a_construction_that_does_not_end_is_given_up() -> None:
    async def never() -> Echo:
        await asyncio.Event().wait()
        return Echo()

    async with running(limits=Limits(construction=5.0)) as rig:
        rig.engine.register("never", never)
        with pytest.raises(ConstructionFailed):
            await rig.clock.run(rig.engine.send(Note(""), AgentId("never")))
        with pytest.raises(ConstructionFailed):
            await rig.clock.run(rig.engine.get("never", lazy=False))


async def test_the_number_of_instances_is_bounded() -> None:
    async with running(limits=Limits(instances=2)) as rig:
        rig.engine.register("one", Collector)
        for key in ("a", "b"):
            await rig.engine.send(Note(""), AgentId("one", key))
        with pytest.raises(LimitExceeded) as refused:
            await rig.engine.send(Note(""), AgentId("one", "c"))
        assert refused.value.metadata["limit"] == "engine.instances"
        assert await rig.engine.publish(Note(""), TopicId("news", "c")) == 0
        assert [each.reason for each in rig.told(MessageDropped)] == [DropReason.OVERLOADED]


async def test_a_type_that_is_taken_back_fails_what_waits_and_what_runs() -> None:
    class Held(Gate):
        closed = 0

        @message_handler(match=lambda message, ctx: False)
        async def on_text(self, message: str, ctx: MessageContext) -> None: ...

        async def close(self) -> None:
            type(self).closed += 1

    async with running() as rig:
        rig.engine.register("gate", Held, subscriptions=[Subscription("t", "gate")])
        one = await gate(rig.engine)
        calls = [asyncio.create_task(rig.engine.send(Note(str(n)), AgentId("gate"))) for n in range(3)]
        await until(lambda: one.begun == ["0"])
        await rig.engine.unregister("gate")

        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each) for each in outcomes} == {Unavailable}
        assert Held.closed == 1
        assert rig.engine.subscriptions() == ()
        assert await rig.engine.publish(Note(""), TopicId("t")) == 0
        with pytest.raises(AgentNotFound):
            await rig.engine.send(Note(""), AgentId("gate"))
        rig.engine.register("gate", Echo)
        assert await rig.engine.send(Note("new"), AgentId("gate")) == Answer("new")


async def test_context_variables_of_one_handler_are_not_the_next_ones() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="clean")

    class Dirty(HandlerAgent):
        @message_handler
        async def on_note(self, message: Note, ctx: MessageContext) -> str:
            found = variable.get()
            variable.set(message.text)
            if message.number:
                await asyncio.sleep(0)
            return found

    async with running() as rig:
        rig.engine.register("dirty", Dirty)
        variable.set("of the sender")
        for number in (0, 1, 0, 1):
            assert await rig.engine.send(Note("dirt", number), AgentId("dirty")) == "clean"


async def test_an_instance_whose_type_is_taken_back_while_it_is_made_is_closed() -> None:
    go = asyncio.Event()
    made: list[Collector] = []

    async def make() -> Collector:
        await go.wait()
        made.append(Collector())
        return made[0]

    async with running() as rig:
        rig.engine.register("one", make)
        call = asyncio.create_task(rig.engine.send(Note(""), AgentId("one")))
        await rig.clock.settle()
        await rig.engine.unregister("one")
        with pytest.raises(Unavailable):
            await call
        go.set()
        await until(lambda: bool(made) and made[0].closed == 1)


async def test_a_message_that_is_withdrawn_before_its_instance_is_made_leaves_none() -> None:
    rig = Rig()
    rig.engine.register("one", Collector)
    for number in range(10):
        call = asyncio.create_task(rig.engine.send(Note(""), AgentId("one", str(number)), timeout=5.0))
        await rig.clock.advance(6.0)
        with pytest.raises(DeadlineExceeded):
            await call
    assert list(rig.engine._instances.lanes()) == []
    await rig.engine.close()
    with pytest.raises(EngineMisused):
        await rig.engine.get("one", lazy=False)
