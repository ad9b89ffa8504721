"""Handlers inside the daemon: how many run at once, over real events, and what the daemon uses them for."""

import asyncio
from pathlib import Path

from gatewayctl.client import new_event
from gatewayd.core.event import Event, EventType
from gatewayd.core.filter import EventFilter
from tests.rigs.house import house
from tests.rigs.in_process import InProcess

CUSTOM = EventFilter(frozenset({EventType.CUSTOM}))


def config(concurrency: int) -> str:
    return f"agents: {{echo: {{model: offline/echo}}}}\nbus: {{handler_concurrency: {concurrency}}}\n"


async def test_so_many_run_at_once_and_a_reload_holds_at_once(tmp_path: Path) -> None:
    """bus.handler_concurrency bounds how many events one handler works on (P4.7)."""
    running = 0
    full, go = asyncio.Event(), asyncio.Event()

    async def handle(_event: Event) -> None:
        nonlocal running
        running += 1
        full.set()
        await go.wait()
        running -= 1

    async with InProcess(tmp_path, config(2)) as gateway, gateway.client("publisher") as client:
        handlers = gateway.house.handlers
        handlers.subscribe(CUSTOM, handle, name="test")
        for concurrency in (2, 5, 1):
            gateway.write(config(concurrency))
            await gateway.gateway.reload()
            full.clear()
            go.clear()
            await client.publish([new_event("custom", {"n": each}, custom_type="note") for each in range(20)])
            gateway.house.bus.flush()
            async with asyncio.timeout(60):
                await full.wait()
            for _ in range(100):  # more would have begun by now
                await asyncio.sleep(0)
            assert running == concurrency
            go.set()
            await asyncio.wait_for(handlers.idle(), 60)


async def test_the_line_for_the_service_manager_follows_the_sessions(tmp_path: Path) -> None:
    """The daemon hears of its own events, and says how many conversations there are (P1.5, P4.7)."""
    async with house(tmp_path, config(10)) as rig:
        await rig.client.send("echo", "hello")
        await rig.daemon.noticed("1 sessions")
        await rig.client.send("echo", "hello", session_id="")
        async with rig.daemon.client("second") as second:
            await second.send("echo", "hello")
        await rig.daemon.noticed("2 sessions")
