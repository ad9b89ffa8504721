"""Cancellation: asked for, noticed, ended; and callbacks may do with the token what they like."""

import asyncio

import pytest
from engine_rig import PATIENCE, Echo, Gate, Note, gate, running

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.errors import Cancelled, DeadlineExceeded
from gatewayd.engine import handling
from gatewayd.engine.cancellation import CancellationToken, CancelState
from gatewayd.engine.context import MessageContext
from gatewayd.engine.events import HandlerLeftBehind
from gatewayd.testing.fakes import until


def test_a_callback_may_read_and_use_the_token() -> None:
    """In the peers a callback that asks the token whether it is cancelled waits for its own lock for ever."""
    token = CancellationToken()
    seen: list[object] = []

    def look() -> None:
        seen.append(token.is_cancelled())
        token.add_callback(lambda: seen.append("from within"))
        token.cancel()

    token.add_callback(look)
    token.cancel()
    token.add_callback(lambda: seen.append("at once"))

    assert seen == [True, "from within", "at once"]
    assert token.state is CancelState.STOPPED


def test_a_callback_that_fails_keeps_no_other_from_its_turn(caplog: pytest.LogCaptureFixture) -> None:
    token = CancellationToken()
    seen: list[str] = []
    token.add_callback(lambda: 1 // 0)
    remove = token.add_callback(lambda: seen.append("removed"))
    token.add_callback(lambda: seen.append("kept"))
    remove()
    token.cancel()

    assert seen == ["kept"]
    assert [record.message for record in caplog.records] == ["cancellation_callback_failed"]


async def test_linked_futures_are_cancelled_and_ended_ones_let_go_of() -> None:
    token = CancellationToken()
    loop = asyncio.get_running_loop()
    ended, open_ = loop.create_future(), loop.create_future()
    for future in (ended, open_):
        assert token.link_future(future) is future
    ended.set_result(1)
    await asyncio.sleep(0)
    assert len(token._callbacks) == 1, "a token that lives long must not keep what has ended"
    token.cancel()

    assert open_.cancelled()
    assert ended.result() == 1
    late: asyncio.Future[None] = loop.create_future()
    assert token.link_future(late).cancelled()


async def test_a_cancelled_call_is_told_at_once_while_its_handler_tidies_up() -> None:
    tidy, tidying = asyncio.Event(), asyncio.Event()

    async def careful(message: Note, ctx: MessageContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tidying.set()
            await tidy.wait()

    async with running() as rig:
        rig.engine.register_function("careful", careful)
        token = CancellationToken()
        assert token.state is CancelState.NONE
        call = asyncio.create_task(rig.engine.send(Note(""), AgentId("careful"), cancellation_token=token))
        await until(lambda: rig.engine.stats().running == 1)
        token.cancel()
        assert token.state is CancelState.REQUESTED
        with pytest.raises(Cancelled):
            await asyncio.wait_for(call, PATIENCE)
        await asyncio.wait_for(tidying.wait(), PATIENCE)
        assert token.state is CancelState.ACKNOWLEDGED
        assert rig.engine.stats().running == 1
        tidy.set()
        await asyncio.wait_for(token.stopped(), PATIENCE)

        assert token.state is CancelState.STOPPED
        assert rig.engine.stats().running == 0


async def test_a_handler_that_polls_its_token_has_noticed() -> None:
    go = asyncio.Event()
    seen: list[bool] = []

    async def poll(message: Note, ctx: MessageContext) -> str:
        seen.append(ctx.cancellation_token.is_cancelled())
        try:
            await go.wait()
        except asyncio.CancelledError:
            seen.append(ctx.cancellation_token.is_cancelled())
        return "ended in peace"

    async with running() as rig:
        rig.engine.register_function("poll", poll)
        token = CancellationToken()
        call = asyncio.create_task(rig.engine.send(Note(""), AgentId("poll"), cancellation_token=token))
        await until(lambda: seen == [False])
        token.cancel()
        with pytest.raises(Cancelled):
            await call
        await asyncio.wait_for(token.stopped(), PATIENCE)

        assert seen == [False, True]
        go.set()
        assert await rig.engine.send(Note("next"), AgentId("poll")) == "ended in peace"


async def test_a_waiting_call_is_withdrawn_and_one_with_a_cancelled_token_never_taken() -> None:
    async with running() as rig:
        rig.engine.register("gate", Gate)
        one, token = await gate(rig.engine), CancellationToken()
        first = asyncio.create_task(rig.engine.send(Note("first"), AgentId("gate")))
        await until(lambda: one.begun == ["first"])
        second = asyncio.create_task(rig.engine.send(Note("second"), AgentId("gate"), cancellation_token=token))
        await until(lambda: rig.engine.stats().queued == 1)
        token.cancel()
        assert token.state is CancelState.STOPPED
        with pytest.raises(Cancelled):
            await second
        with pytest.raises(Cancelled):
            await rig.engine.send(Note("third"), AgentId("gate"), cancellation_token=token)
        one.open.set()

        assert await first == "first"
        assert one.begun == ["first"]


async def test_a_token_of_many_calls_ends_them_all_and_keeps_none() -> None:
    async with running() as rig:
        rig.engine.register("gate", Gate)
        rig.engine.register("echo", Echo)
        token = CancellationToken()
        for _ in range(10):
            await rig.engine.send(Note(""), AgentId("echo"), cancellation_token=token)
        assert not token._links
        sends = [rig.engine.send(Note(""), AgentId("gate", str(n)), cancellation_token=token) for n in range(10)]
        calls = [asyncio.create_task(each) for each in sends]
        await until(lambda: rig.engine.stats().running == 10)
        token.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.wait_for(token.stopped(), PATIENCE)

        assert {type(each) for each in outcomes} == {Cancelled}
        assert rig.engine.stats().cancelled == 10


async def test_a_handler_that_cancels_itself_in_its_first_step_is_interrupted_at_its_next_await() -> None:
    token = CancellationToken()
    ends: list[str] = []

    async def rash(message: Note, ctx: MessageContext) -> None:
        token.cancel()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("interrupted")
            raise

    async with running() as rig:
        rig.engine.register_function("rash", rash)
        rig.engine.register("echo", Echo)
        with pytest.raises(Cancelled):
            await rig.engine.send(Note(""), AgentId("rash"), cancellation_token=token)
        await asyncio.wait_for(token.stopped(), PATIENCE)
        assert ends == ["interrupted"]
        for _ in range(3):
            await rig.engine.send(Note(""), AgentId("echo"))


async def test_timeouts_and_task_groups_of_a_handler_stay_its_own() -> None:
    """A handler has one task from its first step on, and it is nobody else's."""
    callers: list[object] = [asyncio.current_task()]

    async def nested(message: Note, ctx: MessageContext) -> str:
        first = asyncio.current_task()
        assert first not in callers
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            assert asyncio.current_task() is first
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        return "intact"

    async with running() as rig:
        rig.engine.register_function("nested", nested)
        calls = [asyncio.create_task(rig.engine.send(Note(""), AgentId("nested", str(n)))) for n in range(20)]
        callers += calls
        assert await asyncio.gather(*calls) == ["intact"] * 20


async def test_a_handler_that_swallows_its_cancellation_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while its instance goes on with what waits. There are so many of them and no more."""
    monkeypatch.setattr(handling, "MAX_BEHIND", 2)
    go, begun = asyncio.Event(), []

    async def stubborn(message: Note, ctx: MessageContext) -> None:
        begun.append(message.text)
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue

    async with running() as rig:
        rig.engine.register_function("stubborn", stubborn)
        for text in ("first", "second", "third"):
            call = asyncio.create_task(rig.engine.send(Note(text), AgentId("stubborn"), timeout=1.0))
            await until(lambda text=text: begun[-1:] == [text])
            await rig.clock.advance(1.0)
            with pytest.raises(DeadlineExceeded):
                await call
            assert rig.engine.stats().running == 1
            await rig.clock.advance(handling.GRACE)
        await rig.engine.publish(Note("fourth"), TopicId("stubborn:"))
        await rig.clock.advance(handling.GRACE * 2)

        assert begun == ["first", "second", "third"]
        assert [str(each.agent) for each in rig.told(HandlerLeftBehind)] == ["stubborn/default"] * 2
        assert rig.engine.stats().running == 1
        go.set()
        await until(lambda: begun[-1:] == ["fourth"])
        assert (rig.engine.stats().running, rig.engine.stats().queued) == (0, 0)
