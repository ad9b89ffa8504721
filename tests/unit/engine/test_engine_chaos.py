"""Whatever happens at once: every caller has an outcome, every count comes back to zero, nothing is left held."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest
from engine_rig import PATIENCE, Note, Rig

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.errors import GatewayError
from gatewayd.engine.cancellation import CancellationToken, CancelState
from gatewayd.engine.context import MessageContext
from gatewayd.engine.handlers import HandlerAgent, message_handler
from gatewayd.engine.lane import LATEST, SERIAL, concurrent
from gatewayd.engine.limits import Limits
from gatewayd.engine.subscriptions import Subscription
from gatewayd.service import Deadline

TYPES = ("serial", "wide", "latest")


class Mayhem(HandlerAgent):
    """Does what the dice say."""

    dice = random.Random(0)

    def __init__(self) -> None:
        super().__init__()
        self.handled = 0

    @message_handler
    async def on_note(self, message: Note, ctx: MessageContext) -> int:
        self.handled += 1
        dice, deeper = self.dice, Note("", message.number - 1)
        for _ in range(dice.choice((0, 0, 0, 1, 3))):
            await asyncio.sleep(0)
        match dice.randrange(9 if message.number else 4):
            case 0:
                raise ValueError("the dice said so")
            case 1:
                await asyncio.Event().wait()
            case 2:
                ctx.cancellation_token.is_cancelled()
            case 4 | 5:
                await ctx.send(deeper, anyone(dice), timeout=dice.choice((None, 1.0)))
            case 6:
                await ctx.publish(deeper, TopicId("all", dice.choice("ab")))
            case 7:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    await asyncio.sleep(0)
            case 8:
                async with asyncio.TaskGroup() as group:
                    for _ in range(2):
                        group.create_task(ctx.send(deeper, anyone(dice)))
        return message.number

    async def save_state(self) -> Mapping[str, Any]:
        await asyncio.sleep(0)
        return {"handled": self.handled}

    async def load_state(self, state: Mapping[str, Any], /) -> None:
        self.handled = state["handled"]


def anyone(dice: random.Random) -> AgentId:
    return AgentId(dice.choice(TYPES), dice.choice("ab"))


class Shelf(dict[str, bytes]):
    async def save(self, key: str, state: bytes) -> None:
        await asyncio.sleep(0)
        self[key] = state

    async def load(self, key: str) -> bytes | None:
        await asyncio.sleep(0)
        return self.get(key)


@pytest.mark.parametrize("seed", range(40))
async def test_everybody_has_an_outcome(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")
    dice = Mayhem.dice = random.Random(seed)
    store = Shelf() if seed % 2 else None
    rig = Rig(limits=Limits(queue=8, timeout=20.0, idle=10.0), state=store, sink=None)

    async def make() -> Mayhem:
        for _ in range(dice.randrange(3)):
            await asyncio.sleep(0)
        if dice.random() < 0.2:
            raise OSError("no model")
        return Mayhem()

    engine, orders = rig.engine, (SERIAL, concurrent(3), LATEST)
    for name, order in zip(TYPES, orders, strict=True):
        engine.register(name, make, order=order, subscriptions=[Subscription("all", name)])
    await engine.start()
    calls: list[asyncio.Task[Any]] = []
    tokens: list[CancellationToken] = []
    for _ in range(150):
        match dice.randrange(12):
            case 0 | 1 | 2 | 3:
                tokens.append(CancellationToken())
                send = engine.send(
                    Note("", dice.randrange(4)),
                    anyone(dice),
                    cancellation_token=dice.choice((None, tokens[-1])),
                    idempotency_key=dice.choice(("", "", "x")),
                    timeout=dice.choice((None, 0.5)),
                )
                calls.append(asyncio.create_task(send))
            case 4 | 5:
                await engine.publish(Note("", dice.randrange(4)), TopicId("all", dice.choice("ab")))
            case 6 if tokens:
                dice.choice(tokens).cancel()
            case 7 if calls:
                dice.choice(calls).cancel()
            case 10:
                engine.replace(dice.choice(TYPES), make, order=dice.choice(orders))
            case 11:
                name = dice.choice(TYPES)
                engine.retire(name, "the dice said so")
                engine.register(name, make, order=dice.choice(orders), subscriptions=[Subscription("all", name)])
            case 8:
                await rig.clock.advance(dice.choice((0.1, 1.0, 5.0)))
            case 9 if dice.random() < 0.3:
                await rig.clock.run(engine.save_state(), limit=600.0)
        for _ in range(dice.randrange(3)):
            await asyncio.sleep(0)

    if seed % 3:
        await rig.clock.run(engine.stop(Deadline(rig.clock, dice.choice((0.0, 5.0)))))
    else:
        await rig.clock.run(engine.stop_when_idle())

    outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE)
    fine = int | GatewayError | ValueError | asyncio.CancelledError | ExceptionGroup
    assert not [each for each in outcomes if not isinstance(each, fine)]
    stats = engine.stats()
    assert (stats.queued, stats.running) == (0, 0)
    assert not engine._handling.suspended
    assert all(lane.idle and not lane.making for lane in engine._instances.lanes())
    assert engine._instances.count == len(list(engine._instances.lanes()))
    for token in tokens:
        token.cancel()
        assert token.state is CancelState.STOPPED
    await engine.start()
    engine.register("echo", Calm)
    assert await engine.send(Note("", 7), AgentId("echo")) == 7, "it works as before"
    await rig.clock.run(engine.close())


class Calm(HandlerAgent):
    @message_handler
    async def on_note(self, message: Note, ctx: MessageContext) -> int:
        return message.number
