"""`gatewayctl status --deep`: each part is tried out now, within a bound of time, and judged.

Nothing here changes what the daemon does: the store is asked to write a mark of ours and to give it back, the HTTP
listener to answer its own health, the loop to turn. The rest is what the parts know of themselves.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from gatewayd.agents.registry import AgentKind, AgentRegistry
from gatewayd.bus.base import EventBus
from gatewayd.channels.base import ChannelState, ChannelStatus
from gatewayd.core.clock import Clock
from gatewayd.core.disk import Disk
from gatewayd.core.errors import GatewayError
from gatewayd.daemon.reload import Reloader
from gatewayd.daemon.web import Web
from gatewayd.operations import CheckKind, CheckReport, CheckState
from gatewayd.providers.breaker import BreakerState
from gatewayd.runtime.runtime import AgentRuntime
from gatewayd.storage.base import Store
from gatewayd.storage.records import StoreHealth

log = logging.getLogger("gatewayd.checks")

LIMIT: Final = 5.0
"""Seconds that one check may take; without an answer by then the part is broken."""
SLOW: Final = 1.0
"""Seconds from which on a store that answers is degraded."""
LAG: Final = 0.25
"""Seconds that the loop may be late until it is degraded; four times as much is broken."""
LOW, EMPTY = (0.05, 256 << 20), (0.01, 32 << 20)
"""Share and bytes of the disk that are free: less than both is degraded, and broken."""
TURNS: Final = 5
_TURN: Final = 0.02
_MARK: Final = "probe"

_OK, _DEGRADED, _BROKEN = CheckState.HEALTHY, CheckState.DEGRADED, CheckState.BROKEN
_CHANNELS: Final = {
    ChannelState.READY: _OK,
    ChannelState.PAUSED: _OK,
    ChannelState.STOPPED: _OK,
    ChannelState.STARTING: _DEGRADED,
    ChannelState.DEGRADED: _DEGRADED,
    ChannelState.RETRYING: _DEGRADED,
    ChannelState.FAILED: _BROKEN,
}
Finding = tuple[str, CheckState, str]
"""Name within the kind, verdict, and a sentence."""


class Checks:
    """One per gateway."""

    def __init__(
        self,
        *,
        store: Store,
        database: Path,
        disk: Disk,
        bus: EventBus,
        runtime: AgentRuntime,
        agents: AgentRegistry,
        channels: Callable[[], Sequence[ChannelStatus]],
        web: Callable[[], Web],
        reloader: Reloader,
        clock: Clock,
    ) -> None:
        self._store = store
        self._database = database
        self._disk = disk
        self._bus = bus
        self._runtime = runtime
        self._agents = agents
        self._channels = channels
        self._web = web
        self._reloader = reloader
        self._clock = clock
        self._alone = asyncio.Lock()
        """Two that try the store out at once would take each other's mark away."""
        self._of: dict[CheckKind, Callable[[], AsyncIterator[Finding]]] = {
            CheckKind.STORE: self._look_at_store,
            CheckKind.DISK: self._look_at_disk,
            CheckKind.LOOP: self._look_at_loop,
            CheckKind.BUS: self._look_at_bus,
            CheckKind.CONFIGURATION: self._look_at_configuration,
            CheckKind.EXECUTIONS: self._look_at_executions,
            CheckKind.AGENTS: self._look_at_agents,
            CheckKind.CHANNELS: self._look_at_channels,
            CheckKind.HTTP: self._look_at_http,
        }

    async def run(self, kinds: Sequence[CheckKind]) -> list[CheckReport]:
        """Try out the parts of these kinds, one after the other."""
        return [report for kind in kinds for report in await self._try(kind)]

    async def _try(self, kind: CheckKind) -> list[CheckReport]:
        found: list[CheckReport] = []
        began = self._clock.monotonic()

        def note(name: str, state: CheckState, said: str) -> None:
            nonlocal began
            now = self._clock.monotonic()
            found.append(CheckReport(kind, name, state, said, now - began))
            began = now

        try:
            async with self._clock.timeout(LIMIT):
                async for name, state, said in self._of[kind]():
                    note(name, state, said)
        except TimeoutError:
            note("", _BROKEN, f"no answer within {LIMIT:g} s")
        except (GatewayError, OSError) as error:
            note("", _BROKEN, error.message if isinstance(error, GatewayError) else str(error))
        except Exception as error:  # the boundary of a probe: the others are to be made, too
            log.exception("check_failed", extra={"check": kind.value})
            note("", _BROKEN, f"the check failed: {type(error).__name__}")
        return found

    async def _look_at_store(self) -> AsyncIterator[Finding]:
        wanted = str(self._clock.now())
        async with self._alone:
            written = await self._timed(self._store.set_mark(_MARK, wanted))
            read = self._clock.monotonic()
            kept = (await self._store.marks(_MARK)).get(_MARK)
            took = self._clock.monotonic() - read
            await self._store.forget_mark(_MARK)
        if kept != wanted:
            yield "", _BROKEN, "what was written did not come back"
            return
        health = self._store.health
        said = f"a write took {written * 1000:.0f} ms, a read {took * 1000:.0f} ms"
        if health is not StoreHealth.OK:
            yield "", _DEGRADED, f"{said}; the store is {health.value}"
        else:
            yield "", _DEGRADED if max(written, took) > SLOW else _OK, said

    async def _look_at_disk(self) -> AsyncIterator[Finding]:
        free, total = await asyncio.to_thread(self._disk.space, self._database.parent)
        size = (await asyncio.to_thread(self._disk.stat, self._database)).st_size
        state = _BROKEN if _below(free, total, EMPTY) else _DEGRADED if _below(free, total, LOW) else _OK
        yield "", state, f"{_size(free)} of {_size(total)} free; the database has {_size(size)}"

    async def _look_at_loop(self) -> AsyncIterator[Finding]:
        worst = 0.0
        for _ in range(TURNS):
            before = self._clock.monotonic()
            await self._clock.sleep(_TURN)
            worst = max(worst, self._clock.monotonic() - before - _TURN)
        state = _BROKEN if worst > 4 * LAG else _DEGRADED if worst > LAG else _OK
        yield "", state, f"at most {max(0.0, worst) * 1000:.0f} ms late"

    async def _look_at_bus(self) -> AsyncIterator[Finding]:
        figures = self._bus.stats()
        said = f"{figures.published} events, {figures.subscriptions} subscriptions, {figures.dropped} dropped"
        yield "", _OK, f"{said}, {figures.slow_consumers} slow readers cut off"

    async def _look_at_configuration(self) -> AsyncIterator[Finding]:
        running = self._reloader.running
        if running is not None and not running.last.ok:
            yield "", _DEGRADED, "the last reload was refused; the configuration before it serves"
            return
        try:
            report = await self._reloader.reload(validate_only=True)
        except GatewayError as error:
            said = f"a reload would be refused ({error.reason}); `gatewayctl reload --plan` says why"
            yield "", _DEGRADED, said
            return
        changes = len(report.added) + len(report.removed) + len(report.changed)
        yield "", _OK, "as the file says" if not changes else f"{changes} changes of the file wait for a reload"

    async def _look_at_executions(self) -> AsyncIterator[Finding]:
        lanes = self._runtime.lanes
        said = f"{lanes.queued} wait, {lanes.free} of {lanes.limit} places are free"
        yield "", _DEGRADED if lanes.queued and not lanes.free else _OK, said

    async def _look_at_agents(self) -> AsyncIterator[Finding]:
        broken = {
            one.model: f"{one.model} is left alone for {one.retry_in:.0f} s after {one.failures_in_row} failures"
            for one in self._agents.model_stats()
            if one.state is BreakerState.OPEN
        }
        for one in self._agents.describe():
            workers = self._agents.workers.serving(one.name)
            if one.unavailable:
                yield one.name, _BROKEN, one.unavailable
            elif one.kind is AgentKind.REMOTE:
                yield one.name, _OK if workers else _DEGRADED, f"{workers or 'no'} worker{'s' * (workers != 1)}"
            elif faults := [broken[model] for model in one.models if model in broken]:
                yield one.name, _DEGRADED if len(faults) < len(one.models) else _BROKEN, "; ".join(faults)
            else:
                yield one.name, _OK, ", ".join(one.models) or one.kind.value

    async def _look_at_channels(self) -> AsyncIterator[Finding]:
        letters = await self._store.count_letters()
        for one in self._channels():
            parts = [one.state.value + (f": {one.reason}" if one.reason else "")]
            parts += [f"{one.queued} pieces wait"] if one.queued else []
            parts += [f"{letters[one.name]} dead letters"] if letters.get(one.name) else []
            yield one.name, _CHANNELS[one.state], ", ".join(parts)

    async def _look_at_http(self) -> AsyncIterator[Finding]:
        web = self._web()
        if web.server is None:
            return
        http = self._reloader.config.gateway.http
        host = "127.0.0.1" if http.host == "localhost" else http.host.strip("[]")
        try:
            reader, writer = await asyncio.open_connection(host, web.port)
        except ConnectionError:
            yield "", _BROKEN, f"{http.host}:{web.port} takes no connections"
            return
        try:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            first = await reader.read(64)
        except ConnectionError:
            first = b""
        finally:
            writer.close()
        # What speaks only in secret hangs up on a request in the clear; that it does shows that it is there.
        status = first.decode("latin-1").partition("\r\n")[0].split() if first.startswith(b"HTTP/") else []
        said = f"answers {' '.join(status[1:])}" if status else "takes connections, and answers nothing in the clear"
        state = _OK if not status or status[1:2] == ["200"] else _DEGRADED
        yield "", state, f"{http.host}:{web.port} {said}"
        for one in web.reports:
            said = f"{one.path}, {one.accepted} accepted, {one.refused} refused"
            yield one.source_id, _BROKEN if one.reason else _OK, one.reason or said

    async def _timed(self, work: Awaitable[object]) -> float:
        began = self._clock.monotonic()
        await work
        return self._clock.monotonic() - began


def _below(free: int, total: int, bound: tuple[float, int]) -> bool:
    share, size = bound
    return free < size and free < total * share


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
