"""The order of handling, under every interleaving that chance finds."""

import asyncio
from collections import defaultdict

import pytest
from engine_rig import Collector, Gate, Note, collector, gate, running
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.errors import InvalidArgument
from gatewayd.engine.context import MessageContext
from gatewayd.engine.errors import Superseded
from gatewayd.engine.events import DropReason, MessageDropped
from gatewayd.engine.handlers import HandlerAgent, message_handler
from gatewayd.engine.lane import LATEST, SERIAL, Order, concurrent
from gatewayd.engine.subscriptions import Subscription
from gatewayd.testing.fakes import until

Begun = dict[AgentId, list[int]]

script = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.sampled_from(["send", "publish"])), max_size=40
)
"""Messages: to which instance, how many turns of the loop its handler waits, and how it is sent."""


async def play(order: Order, messages: list[tuple[str, int, str]], pauses: list[int]) -> tuple[Begun, Begun, int]:
    """What began and what ended in each instance, in order, and the most that ran at once in one instance."""
    begun: Begun = defaultdict(list)
    ended: Begun = defaultdict(list)
    most = 0

    class Player(HandlerAgent):
        @message_handler
        async def on_note(self, message: Note, ctx: MessageContext) -> int:
            nonlocal most
            begun[self.id].append(message.number)
            most = max(most, len(begun[self.id]) - len(ended[self.id]))
            for _ in range(int(message.text)):
                await asyncio.sleep(0)
            ended[self.id].append(message.number)
            return message.number

    async with running(sink=None) as rig:
        rig.engine.register("player", Player, order=order, subscriptions=[Subscription("t", "player")])
        calls = []
        for number, (key, turns, way) in enumerate(messages):
            note = Note(str(turns), number)
            if way == "send":
                calls.append(asyncio.create_task(rig.engine.send(note, AgentId("player", key))))
                await asyncio.sleep(0)
            else:
                await rig.engine.publish(note, TopicId("t", key))
            for _ in range(pauses[number % len(pauses)] if pauses else 0):
                await asyncio.sleep(0)
        sent = [number for number, message in enumerate(messages) if message[2] == "send"]
        assert await asyncio.gather(*calls) == sent
        await rig.engine.stop_when_idle()
    return begun, ended, most


def expected(messages: list[tuple[str, int, str]]) -> Begun:
    found: Begun = defaultdict(list)
    for number, (key, _, _) in enumerate(messages):
        found[AgentId("player", key)].append(number)
    return found


@settings(max_examples=60)
@given(script, st.lists(st.integers(0, 3), max_size=4))
def test_an_instance_handles_one_message_at_a_time_in_the_order_of_sending(
    messages: list[tuple[str, int, str]], pauses: list[int]
) -> None:
    """The peers begin in order and then handle all at once."""
    begun, ended, most = asyncio.run(play(SERIAL, messages, pauses))

    assert begun == expected(messages)
    assert ended == begun
    assert most <= 1


@settings(max_examples=60)
@given(script, st.lists(st.integers(0, 3), max_size=4), st.integers(2, 4))
def test_an_instance_that_handles_several_at_once_begins_them_in_order_and_never_more(
    messages: list[tuple[str, int, str]], pauses: list[int], at_once: int
) -> None:
    begun, ended, most = asyncio.run(play(concurrent(at_once), messages, pauses))

    assert begun == expected(messages)
    assert {key: sorted(numbers) for key, numbers in ended.items()} == begun
    assert most <= at_once


async def test_several_at_once_really_run_at_once() -> None:
    async with running() as rig:
        rig.engine.register("gate", Gate, order=concurrent(3))
        one = await gate(rig.engine)
        calls = [asyncio.create_task(rig.engine.send(Note(str(n)), AgentId("gate"))) for n in range(5)]
        await until(lambda: len(one.begun) == 3)
        await rig.clock.settle()
        assert one.begun == ["0", "1", "2"]
        one.open.set()
        await asyncio.gather(*calls)
        assert one.most == 3
    with pytest.raises(InvalidArgument):
        concurrent(0)


async def test_of_what_waits_for_an_agent_that_wants_the_latest_only_that_is_kept() -> None:
    async with running() as rig:
        rig.engine.register("gate", Gate, order=LATEST, subscriptions=[Subscription("t", "gate")])
        one = await gate(rig.engine)
        runs = asyncio.create_task(rig.engine.send(Note("runs"), AgentId("gate")))
        await until(lambda: one.begun == ["runs"])
        await rig.engine.publish(Note("old"), TopicId("t"))
        displaced = asyncio.create_task(rig.engine.send(Note("newer"), AgentId("gate")))
        await rig.clock.settle()
        latest = asyncio.create_task(rig.engine.send(Note("latest"), AgentId("gate")))
        with pytest.raises(Superseded):
            await displaced
        one.open.set()

        assert await asyncio.gather(runs, latest) == ["runs", "latest"]
        assert one.ended == ["runs", "latest"]
        assert [each.reason for each in rig.told(MessageDropped)] == [DropReason.SUPERSEDED]


async def test_the_latest_of_several_first_messages_reaches_the_one_instance_that_is_made() -> None:
    async with running() as rig:
        rig.engine.register("one", Collector, order=LATEST)
        calls = [asyncio.create_task(rig.engine.send(Note(str(n)), AgentId("one"))) for n in range(5)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)

        assert [type(each) for each in outcomes] == [Superseded] * 4 + [int]
        assert await rig.engine.send(Note("5"), AgentId("one")) == 2
        assert collector(rig.engine, "one").got == ["4", "5"]


async def test_an_agent_that_waits_holds_up_no_other() -> None:
    async with running() as rig:
        rig.engine.register("gate", Gate)
        calls = [asyncio.create_task(rig.engine.send(Note("", 0), AgentId("gate", str(n)))) for n in range(200)]
        await until(lambda: rig.engine.stats().running == 200)
        one = await gate(rig.engine)
        one.open.set()
        assert await rig.engine.send(Note("free"), AgentId("gate")) == "free"
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
