"""Saved states: of instances and subscriptions, and nothing is lost of what they do not name."""

import asyncio
import json

import pytest
from engine_rig import Collector, Echo, Gate, Note, collector, gate, running

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.errors import (
    AgentNotFound,
    DeadlineExceeded,
    ExecutionFailed,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from gatewayd.engine.limits import Limits
from gatewayd.engine.subscriptions import Subscription
from gatewayd.testing.fakes import until


class Shelf:
    """A store for states."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def save(self, key: str, state: bytes) -> None:
        self.kept[key] = state

    async def load(self, key: str) -> bytes | None:
        return self.kept.get(key)


async def test_a_state_has_the_instances_and_the_subscriptions_and_another_engine_takes_it_up() -> None:
    async with running() as rig:
        rig.engine.register("one", Collector)
        rig.engine.register("echo", Echo)
        rig.engine.add_subscription(Subscription("extra", "one", id="extra"))
        for key in ("a", "b"):
            await rig.engine.send(Note(key), AgentId("one", key))
        await rig.engine.send(Note(""), AgentId("echo"))
        state = json.loads(json.dumps(await rig.engine.save_state()))

    assert state["agents"] == {"one/a": {"got": ["a"]}, "one/b": {"got": ["b"]}, "echo/default": {}}
    async with running() as other:
        other.engine.register("one", Collector)
        await other.engine.send(Note("mine"), AgentId("one", "c"))
        report = await other.engine.load_state(state)

        assert report.unknown == ("echo",), "what nobody registered is told"
        assert report.loaded == (AgentId("one", "a"), AgentId("one", "b"))
        assert report.subscriptions == 1
        assert collector(other.engine, "one", "a").got == ["a"]
        assert collector(other.engine, "one", "c").got == ["mine"], "what the state does not name is untouched"
        await other.engine.publish(Note("x"), TopicId("extra", "a"))
        await other.engine.stop_when_idle()
        assert collector(other.engine, "one", "a").got == ["a", "x"]


async def test_named_agents_alone() -> None:
    async with running() as rig:
        rig.engine.register("one", Collector)
        for key in ("a", "b"):
            await rig.engine.send(Note(key), AgentId("one", key))
        state = await rig.engine.save_state([AgentId("one", "a")])
        assert list(state["agents"]) == ["one/a"]
        with pytest.raises(AgentNotFound):
            await rig.engine.save_state([AgentId("one", "c")])
        whole = json.loads(json.dumps(await rig.engine.save_state()))
        for key in ("a", "b"):
            await rig.engine.send(Note("later"), AgentId("one", key))
        report = await rig.engine.load_state(whole, [AgentId("one", "b")])

        assert report.loaded == (AgentId("one", "b"),)
        assert collector(rig.engine, "one", "a").got == ["a", "later"]
        assert collector(rig.engine, "one", "b").got == ["b"]
        with pytest.raises(InvalidArgument):
            await rig.engine.load_state({"version": 99})


async def test_a_state_is_taken_between_two_messages_and_never_in_one() -> None:
    async with running(limits=Limits(construction=5.0)) as rig:
        rig.engine.register("gate", Gate)
        one = await gate(rig.engine)
        calls = [asyncio.create_task(rig.engine.send(Note(str(n)), AgentId("gate"))) for n in range(2)]
        await until(lambda: one.begun == ["0"])
        saving = asyncio.create_task(rig.engine.save_state())
        await rig.clock.settle()
        assert not saving.done()
        one.open.set()
        assert (await saving)["agents"] == {"gate/default": {}}
        assert await asyncio.gather(*calls) == ["0", "1"]
        one.open.clear()
        call = asyncio.create_task(rig.engine.send(Note("2"), AgentId("gate")))
        await until(lambda: one.begun[-1] == "2")
        with pytest.raises(DeadlineExceeded):
            await rig.clock.run(rig.engine.save_state())
        one.open.set()
        assert await call == "2"
        assert await rig.engine.send(Note("3"), AgentId("gate")) == "3"


async def test_a_state_goes_through_the_store() -> None:
    shelf = Shelf()
    async with running(state=shelf) as rig:
        rig.engine.register("one", Collector)
        await rig.engine.send(Note("kept"), AgentId("one"))
        await rig.engine.save()
    async with running(state=shelf) as rig:
        rig.engine.register("one", Collector)
        await rig.engine.load()
        assert collector(rig.engine, "one").got == ["kept"]
        with pytest.raises(NotFound):
            await rig.engine.load("never saved")
    async with running() as rig:
        for refused in (rig.engine.save(), rig.engine.load()):
            with pytest.raises(Unavailable):
                await refused


async def test_a_state_may_be_taken_up_between_a_stop_and_a_start() -> None:
    async def make() -> Collector:
        await asyncio.sleep(0)
        return Collector()

    async with running() as rig:
        rig.engine.register("one", make)
        await rig.engine.send(Note("a"), AgentId("one"))
        state = await rig.engine.save_state()
        await rig.engine.stop()
        await rig.engine.load_state({**state, "agents": {"one/b": {"got": ["b"]}}})
        await rig.engine.start()
        assert await rig.engine.send(Note("c"), AgentId("one", "b")) == 2


FAILURES = (ValueError("secret"), TimeoutError("secret"), SystemExit("secret"), object())


@pytest.mark.parametrize("failure", FAILURES, ids=["error", "time", "exit", "no JSON"])
async def test_an_agent_that_fails_at_its_state_is_named(failure: object) -> None:
    """And what it raises ends nobody who asks; the log has the traceback."""

    class Fails(Collector):
        topics = ()

        async def save_state(self) -> dict[str, object]:
            if isinstance(failure, BaseException):
                raise failure
            return {"x": failure}

        async def load_state(self, state: object, /) -> None:
            raise failure if isinstance(failure, BaseException) else TypeError

    async with running() as rig:
        rig.engine.register("fails", Fails)
        rig.engine.register("one", Collector)
        for agent in ("one", "fails"):
            await rig.engine.send(Note("x"), AgentId(agent))
        with pytest.raises(ExecutionFailed, match=r"^fails/default did not give its state: [TVS][a-zA-Z]+$") as refused:
            await rig.engine.save_state()
        assert refused.value.metadata == {"agent": "fails/default"}
        with pytest.raises(ExecutionFailed, match="fails/default did not take up its state"):
            await rig.engine.load_state({"version": 1, "agents": {"fails/default": {}}, "subscriptions": []})
        assert await rig.engine.send(Note("y"), AgentId("fails")) == 2
