"""What holds for in-process handlers over any bus; a part of `BusContract`."""

import asyncio
from contextvars import ContextVar
from dataclasses import replace

import pytest

from gatewayd.bus.handlers import Handlers
from gatewayd.core.event import Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import Overflow
from gatewayd.testing.wired import DEADLINE, Wired

_ALL = EventFilter()
_LEFT: ContextVar[str] = ContextVar("_LEFT", default="")


class HandlerContract:
    """A test subclasses `BusContract`, of which this is a part."""

    async def test_a_handler_gets_the_events_of_its_filter_in_order(self, bus: Wired) -> None:
        seen: list[str] = []
        handlers = Handlers(bus.bus, lambda: 10)

        async def handle(event: Event) -> None:
            seen.append(event.id)

        handlers.subscribe(EventFilter(stream_id="a"), handle, name="a")
        written = await bus.append(*(bus.event("a" if number % 2 else "b") for number in range(40)))
        delta = bus.ephemeral("a")
        await handlers.publish(delta, wait=True)

        assert seen == [event.id for event in written if event.stream_id == "a"] + [delta.id]
        await handlers.stop()

    async def test_so_many_run_at_once_and_no_more_and_a_change_holds_at_once(self, bus: Wired) -> None:
        limit = running = most = 0
        go, full = asyncio.Event(), asyncio.Event()
        handlers = Handlers(bus.bus, lambda: limit)

        async def handle(_event: Event) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            if running == limit:
                full.set()
            await go.wait()
            running -= 1

        handling = handlers.subscribe(_ALL, handle, name="slow")
        for limit in (10, 3, 12):
            most = 0
            go.clear()
            full.clear()
            for _ in range(30):
                bus.bus.publish(bus.ephemeral())
            bus.bus.flush()
            await asyncio.wait_for(full.wait(), DEADLINE)
            for _ in range(50):
                await asyncio.sleep(0)
            assert running == most == limit
            assert handling.stats().waiting == 30 - limit
            go.set()
            await asyncio.wait_for(handlers.idle(), DEADLINE)
        assert handling.stats().handled == 90
        await handlers.stop()

    async def test_ten_handlers_that_publish_do_not_hold_each_other_up(self, bus: Wired) -> None:
        """Each event makes another, through every slot that there is; nobody waits for anybody."""
        seen = 0
        handlers = Handlers(bus.bus, lambda: 10)

        async def handle(event: Event) -> None:
            nonlocal seen
            seen += 1
            if event.topic != "0":
                await asyncio.sleep(0)
                left = replace(bus.ephemeral(), topic=str(int(event.topic) - 1))
                await handlers.publish(left)

        for number in range(10):
            handlers.subscribe(_ALL, handle, name=f"h{number}", concurrency=1 if number % 2 else None)
        await asyncio.wait_for(handlers.publish(replace(bus.ephemeral(), topic="2"), wait=True), DEADLINE)

        assert seen == 10 + 10 * 10 + 10 * 10 * 10
        await handlers.stop()

    async def test_one_that_waits_holds_up_no_other_and_has_one_task_for_its_life(self, bus: Wired) -> None:
        """Its first step may be taken in a task that has handled other events; timeouts and cancelling hold there."""
        seen: list[str] = []
        handlers = Handlers(bus.bus, lambda: 10)

        async def waits(_event: Event) -> None:
            task = asyncio.current_task()
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.get_running_loop().create_future()
            except TimeoutError:
                assert asyncio.current_task() is task
                seen.append("waited")

        async def cancelled(_event: Event) -> None:
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.cancel)
            await future

        async def at_once(_event: Event) -> None:
            seen.append("at once")

        handlers.subscribe(_ALL, waits, name="waits")
        odd = handlers.subscribe(_ALL, cancelled, name="cancelled")
        handlers.subscribe(_ALL, at_once, name="at once")
        for _ in range(3):
            bus.bus.publish(bus.ephemeral())
        await asyncio.wait_for(handlers.idle(), DEADLINE)

        assert seen == ["at once"] * 3 + ["waited"] * 3
        assert (odd.stats().failed, odd.stats().handled, odd.stats().running) == (3, 0, 0)
        await handlers.stop()

    async def test_what_a_handler_leaves_in_context_variables_no_other_finds(self, bus: Wired) -> None:
        found: list[str] = []
        handlers = Handlers(bus.bus, lambda: 10)

        async def leaves(_event: Event) -> None:
            _LEFT.set("something")

        async def looks(_event: Event) -> None:
            found.append(_LEFT.get())

        for handler in (leaves, looks, leaves, looks):
            handlers.subscribe(_ALL, handler, name=handler.__name__)
        for _ in range(5):
            bus.bus.publish(bus.ephemeral())
            await asyncio.wait_for(handlers.idle(), DEADLINE)

        assert found == [""] * 10
        await handlers.stop()

    async def test_one_that_cancels_its_own_task_in_its_only_step_cuts_off_no_other(self, bus: Wired) -> None:
        """Neither another handler of the same events, nor one of others, nor its own next time."""
        seen: list[str] = []
        handlers = Handlers(bus.bus, lambda: 10)

        async def quits(event: Event) -> None:
            if event.topic == "waits":
                await waits(event)
            elif (task := asyncio.current_task()) is not None:
                task.cancel()

        async def waits(_event: Event) -> None:
            await asyncio.sleep(0)
            seen.append("waited")

        mine, other = EventFilter(stream_id="mine"), EventFilter(stream_id="other")
        made = [handlers.subscribe(mine, one, name=f"{n}") for n, one in enumerate((quits, waits, quits, waits))]
        made.append(handlers.subscribe(other, waits, name="other"))
        for topic in ("", "waits", "", "waits"):
            bus.bus.publish(replace(bus.ephemeral("mine"), topic=topic))
            bus.bus.publish(bus.ephemeral("other"))
        await asyncio.wait_for(handlers.idle(), DEADLINE)

        assert [(one.stats().failed, one.stats().handled) for one in made] == [(0, 4)] * 5
        assert seen == ["waited"] * (2 * 2 + 2 * 4 + 4)
        await handlers.stop()

    async def test_a_handler_that_would_wait_for_itself_is_told(self, bus: Wired) -> None:
        told: list[Exception] = []
        handlers = Handlers(bus.bus, lambda: 10)

        async def handle(_event: Event) -> None:
            try:
                await handlers.publish(bus.ephemeral("other"), wait=True)
            except RuntimeError as error:
                told.append(error)

        handlers.subscribe(EventFilter(stream_id="mine"), handle, name="deep")
        await asyncio.wait_for(handlers.publish(bus.ephemeral("mine"), wait=True), DEADLINE)

        assert len(told) == 1
        await handlers.stop()

    async def test_a_failure_is_told_and_counted_and_harms_nobody(
        self, bus: Wired, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[str] = []
        handlers = Handlers(bus.bus, lambda: 2)

        async def bad(_event: Event) -> None:
            raise ValueError("the handler is wrong")

        async def good(event: Event) -> None:
            seen.append(event.id)

        worse = handlers.subscribe(_ALL, bad, name="bad")
        handlers.subscribe(_ALL, good, name="good")
        written = await bus.append(*(bus.event() for _ in range(20)))
        await asyncio.wait_for(handlers.idle(), DEADLINE)

        assert seen == [event.id for event in written]
        assert (worse.stats().failed, worse.stats().handled) == (20, 0)
        assert [record.message for record in caplog.records].count("handler_failed") == 20
        caplog.clear()
        await handlers.stop()

    async def test_a_handler_may_end_itself_and_others(self, bus: Wired) -> None:
        seen: list[str] = []
        handlers = Handlers(bus.bus, lambda: 10)

        async def once(_event: Event) -> None:
            seen.append("once")
            first.close()
            other.close()

        async def never(_event: Event) -> None:
            seen.append("other")

        first = handlers.subscribe(_ALL, once, name="once", concurrency=1)
        other = handlers.subscribe(EventFilter(types=frozenset({EventType.BROADCAST})), never, name="other")
        for _ in range(5):
            bus.bus.publish(bus.ephemeral())
        await asyncio.wait_for(handlers.idle(), DEADLINE)
        bus.bus.publish(bus.ephemeral())
        await asyncio.wait_for(handlers.idle(), DEADLINE)

        assert seen == ["once"]
        assert handlers.stats() == []
        assert bus.bus.stats().subscriptions == 0
        await handlers.stop()

    async def test_one_that_falls_behind_misses_the_oldest_or_is_ended(
        self, bus: Wired, caplog: pytest.LogCaptureFixture
    ) -> None:
        go = asyncio.Event()
        handlers = Handlers(bus.bus, lambda: 1)
        seen: list[str] = []

        async def handle(event: Event) -> None:
            seen.append(event.id)
            await go.wait()

        drops = handlers.subscribe(_ALL, handle, name="drops", buffer_bytes=4096)
        ends = handlers.subscribe(_ALL, handle, name="ends", buffer_bytes=4096, overflow=Overflow.DISCONNECT)
        events = [bus.event(text="x" * 20_000) for _ in range(12)]
        for event in events:
            await bus.append(event)
            bus.bus.flush()
            await asyncio.sleep(0)
        go.set()
        await asyncio.wait_for(handlers.idle(), DEADLINE)

        assert drops.stats().dropped > 0
        assert drops.stats().handled + drops.stats().dropped == 12
        assert seen[-1] == events[-1].id
        assert ends.ended
        assert {"handler_missed_events", "handler_ended"} <= {record.message for record in caplog.records}
        caplog.clear()
        await handlers.stop()

    async def test_stop_cancels_what_runs(self, bus: Wired) -> None:
        cancelled = asyncio.Event()
        began = asyncio.Event()
        handlers = Handlers(bus.bus, lambda: 10)

        async def for_ever(_event: Event) -> None:
            began.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                cancelled.set()

        handlers.subscribe(_ALL, for_ever, name="for ever")
        bus.bus.publish(bus.ephemeral())
        await asyncio.wait_for(began.wait(), DEADLINE)
        await asyncio.wait_for(handlers.stop(), DEADLINE)

        assert cancelled.is_set()
        assert bus.bus.stats().subscriptions == 0

    async def test_what_waits_for_a_handler_that_is_closed_is_waited_for_by_nobody(self, bus: Wired) -> None:
        go = asyncio.Event()
        handlers = Handlers(bus.bus, lambda: 1)

        async def handle(_event: Event) -> None:
            await go.wait()

        handling = handlers.subscribe(_ALL, handle, name="slow")
        for _ in range(3):
            await handlers.publish(bus.ephemeral())
            bus.bus.flush()
            await asyncio.sleep(0)
        handling.close()
        assert (handling.stats().running, handling.stats().waiting) == (1, 0)
        go.set()
        await asyncio.wait_for(handlers.idle(), DEADLINE)
        await handlers.stop()
