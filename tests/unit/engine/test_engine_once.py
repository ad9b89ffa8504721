"""Idempotency keys, and the bounds of what an engine remembers."""

import asyncio

import pytest
from engine_rig import Collector, Echo, Gate, Note, Rig, gate, running

from gatewayd.core.agents import AgentId
from gatewayd.core.errors import Cancelled, DeadlineExceeded, IdConflict
from gatewayd.engine.cancellation import CancellationToken
from gatewayd.engine.context import Belonging, MessageContext
from gatewayd.engine.errors import ConstructionFailed
from gatewayd.engine.limits import Limits
from gatewayd.testing.fakes import until

ONE = AgentId("one")


async def test_the_same_key_gives_the_first_outcome_and_another_message_is_a_conflict() -> None:
    async with running(limits=Limits(remembered_for=100.0)) as rig:
        rig.engine.register("one", Collector)
        for _ in range(3):
            assert await rig.engine.send(Note("a"), ONE, idempotency_key="k") == 1
        with pytest.raises(IdConflict):
            await rig.engine.send(Note("b"), ONE, idempotency_key="k")
        assert await rig.engine.send(Note("b"), ONE, idempotency_key="k", sender=AgentId("x")) == 2
        assert await rig.engine.send(Note("b"), AgentId("one", "2"), idempotency_key="k") == 1
        await rig.clock.advance(101.0)
        assert await rig.engine.send(Note("a"), ONE, idempotency_key="k") == 3


async def test_what_one_principal_has_asked_is_not_told_to_another() -> None:
    """An agent that asks for many may give each the same key: the outcome is that of whoever it asks for."""

    async def balance(message: Note, ctx: MessageContext) -> str:
        return f"that of {ctx.belonging.principal}"

    async with running() as rig:
        rig.engine.register_function("bank", balance)
        for principal in ("ann", "bob", "ann"):
            asked = rig.engine.send(
                Note("balance"),
                AgentId("bank"),
                sender=AgentId("front"),
                idempotency_key="balance",
                belonging=Belonging(principal=principal, execution_id=f"x-{principal}"),
            )
            assert await asked == f"that of {principal}"


async def test_an_error_is_an_outcome_too() -> None:
    tries = 0

    async def fail(message: Note, ctx: MessageContext) -> None:
        nonlocal tries
        tries += 1
        raise OSError("disk")

    async with running() as rig:
        rig.engine.register_function("bad", fail)
        for _ in range(2):
            with pytest.raises(OSError, match="disk"):
                await rig.engine.send(Note(""), AgentId("bad"), idempotency_key="k")
        assert tries == 1


async def test_asking_again_while_the_first_call_runs_waits_for_it() -> None:
    async with running() as rig:
        rig.engine.register("gate", Gate)
        one, token = await gate(rig.engine), CancellationToken()

        def ask(**options: object) -> asyncio.Task[object]:
            send = rig.engine.send(Note("x"), AgentId("gate"), idempotency_key="k", **options)  # type: ignore[arg-type]
            return asyncio.create_task(send)

        first = ask()
        await until(lambda: one.begun == ["x"])
        second, impatient, cancelled = ask(), ask(timeout=5.0), ask(cancellation_token=token)
        await rig.clock.advance(6.0)
        with pytest.raises(DeadlineExceeded):
            await impatient
        token.cancel()
        with pytest.raises(Cancelled):
            await cancelled
        one.open.set()

        assert await asyncio.gather(first, second) == ["x", "x"]
        assert one.begun == ["x"]


async def test_a_call_that_was_never_begun_may_be_made_again_but_not_one_that_was_cut_off() -> None:
    broken = True

    def make() -> Gate:
        if broken:
            raise OSError("no model")
        return Gate()

    async with running() as rig:
        rig.engine.register("gate", make)
        with pytest.raises(ConstructionFailed):
            await rig.engine.send(Note("x"), AgentId("gate"), idempotency_key="k")
        broken = False
        one = await gate(rig.engine)
        for _ in range(2):
            with pytest.raises(DeadlineExceeded):
                await rig.clock.run(rig.engine.send(Note("x"), AgentId("gate"), idempotency_key="k", timeout=5.0))
        assert one.begun == ["x"], "nobody knows how far it came"


async def test_a_bounded_number_of_outcomes_is_kept() -> None:
    async with running(limits=Limits(remembered=10)) as rig:
        rig.engine.register("one", Collector)
        for number in range(100):
            await rig.engine.send(Note(""), ONE, idempotency_key=str(number))
        assert len(rig.engine._once) == 10


async def test_the_deadlines_of_ended_calls_are_swept_out() -> None:
    """With a deadline of a minute, a heap that only waits for them would hold a minute's calls."""

    async def turn(message: Note, ctx: MessageContext) -> None:
        await asyncio.sleep(0)

    async with running(sink=None) as rig:
        rig.engine.register_function("turn", turn)
        for _ in range(2000):
            await rig.engine.send(Note(""), AgentId("turn"))
        assert len(rig.engine._handling._deadlines) <= 200


async def test_an_engine_at_rest_holds_nothing_of_what_passed() -> None:
    rig = Rig(sink=None)
    await rig.engine.start()
    rig.engine.register("echo", Echo)
    for number in range(500):
        await rig.engine.send(Note(str(number)), AgentId("echo"))
    handling = rig.engine._handling
    left = (len(handling.ready), len(handling.suspended), len(handling._deadlines), len(rig.engine._life._tasks))
    assert left[:2] == (0, 0)
    assert left[2] <= 1
    assert left[3] <= 2, "one parked runner, one alarm"
    await rig.engine.close()
