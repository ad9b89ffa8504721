"""The life of the gateway: become ready, reload, and end without losing what was accepted."""

import asyncio
import errno
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

from gatewayd.config.loader import Loaded
from gatewayd.core.errors import StoreFailed
from gatewayd.core.event import Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.daemon.assembly import Assembly
from gatewayd.daemon.configuration import Configuration
from gatewayd.daemon.options import Options, Parts
from gatewayd.daemon.portholder import port_holder
from gatewayd.service import Deadline
from gatewayd.wire.backend import refuse_slow_backend

log = logging.getLogger("gatewayd")

DEFAULT_DRAIN = 10.0
"""Seconds that a stop may take before there is a configuration that says."""
_WORK_SHARE = 0.6
"""Of the drain's time, what executions may take before the outboxes have their turn."""
_AWAY = 2.0
"""Seconds that each part has to be put away, whatever is left of the deadline."""
_SESSIONS = EventFilter(frozenset({EventType.SESSION_STARTED, EventType.SESSION_ENDED}))


class Gateway:
    """One gateway. `start`, then `drain_and_stop`; `reload` in between."""

    def __init__(self, options: Options, parts: Parts) -> None:
        self._options = options
        self._parts = parts
        self._configuration = Configuration(options, parts.disk, parts.clock)
        self._failed: asyncio.Future[StoreFailed] = asyncio.get_running_loop().create_future()
        self._house: Assembly | None = None
        self._draining = False
        self._started = False

    async def start(self) -> None:
        """Become ready: configuration, store, parts, what was left unfinished; the doors open last."""
        refuse_slow_backend()
        loaded = self._read()
        self._use(loaded)
        house = self._house = Assembly(
            self._options,
            self._parts,
            loaded,
            installed=self._configuration.installed,
            python_agents=self._configuration.python_agents,
            read=self._read,
            use=self._use,
            changed=self._changed,
            reloaded=lambda: self._parts.notify.ready(self.status_line()),
            draining=lambda: self._draining,
            store_failed=self._store_failed,
        )
        await house.store.open()
        house.bus.attach(house.store)
        await house.sessions.start()
        await house.authenticator.start()
        await house.reloader.begin(loaded)
        await house.shared.start()
        await house.messaging.start()
        house.router.attach(house.runtime)
        left = await house.router.recover()
        await house.erasing.finish()
        await house.entry_points.start()
        await house.upkeep.start()
        house.handlers.subscribe(_SESSIONS, self._sessions_changed, name="status line", concurrency=1)
        await house.hub.start()
        await house.channels.start()
        await self._open_doors(house, loaded.config.gateway.port)
        self._started = True
        if loaded.config.storage.durability == "relaxed":
            log.warning("storage_relaxed", extra={"may_lose": "all writes since the last checkpoint of its journal"})
        for problem in loaded.warnings:
            log.warning("config_warning", extra={"problem": str(problem)})
        log.info("gateway_started", extra={"agents": len(loaded.config.agents), "taken_up": left})

    async def _open_doors(self, house: Assembly, port: int) -> None:
        """Listen; a refusal names who has the port, where that is known."""
        try:
            await house.rpc.start()
        except OSError as error:
            holder = port_holder(port, self._parts.disk) if error.errno == errno.EADDRINUSE else ""
            if holder:
                raise OSError(error.errno, f"{error.strerror}: {holder} has it") from error
            raise
        await house.http.start()

    async def drain_and_stop(self, deadline: Deadline) -> None:
        """Close the doors, finish the work, send what is queued, put the tools away; each within its share."""
        self._draining = True
        house = self._house
        if house is None:
            return
        house.router.close()
        await deadline.run(house.reloader.close(), name="reload: end")
        await deadline.run(house.entry_points.stop(), name="entry points: stop")
        await deadline.run(house.rpc.drain(), name="rpc: drain")
        await deadline.run(house.http.drain(), name="http: drain")
        await deadline.run(house.channels.stop_receiving(), name="channels: stop receiving")
        house.hub.drain("the gateway is stopping")
        house.shared.drain()
        house.waits.drain()
        work = deadline.run(house.runtime.idle(), name="executions", limit=deadline.remaining * _WORK_SHARE)
        if await work:
            await deadline.run(house.messaging.drain(), name="messages", limit=deadline.remaining * _WORK_SHARE)
        else:
            log.warning("executions_cut_off", extra={"executions": house.runtime.counts()})
        await house.runtime.stop()
        house.hub.end_all()
        await deadline.run(house.channels.drain(), name="outboxes: flush")
        for name, end in (
            ("rpc", house.rpc.stop),
            ("http", house.http.stop),
            ("hub", house.hub.stop),
            ("push", house.push.stop),
            ("handlers", house.handlers.stop),
            ("router", house.router.stop),
            ("channels", house.channels.stop),
            ("upkeep", house.upkeep.stop),
            ("messages", house.messaging.stop),
            ("state", house.shared.stop),
            ("access", house.authenticator.stop),
            ("agents", house.agents.close),
            ("tasks", house.tasks.close),
            ("store", house.store.close),
            ("tracing", house.telemetry.stop),
        ):
            await self._put_away(name, end(), deadline)

    async def _put_away(self, name: str, work: Coroutine[Any, Any, None], deadline: Deadline) -> None:
        """Putting away is short; a deadline that was cut must not cost an acknowledged write."""
        last = Deadline(self._parts.clock, max(deadline.remaining, _AWAY))
        try:
            if not await last.run(work, name=f"{name}: stop"):
                log.warning("stop_late", extra={"part": name})
        except Exception:  # the boundary of one part's end: the others must have theirs
            log.exception("stop_failed", extra={"part": name})

    async def reload(self) -> None:
        """SIGHUP. The outcome is told in the log, as an event and in the status."""
        if self._house is None:
            return
        try:
            await self._house.reloader.reload()
        except Exception as error:
            log.debug("reload_refused", extra={"reason": str(error)})

    def wait_failed(self) -> asyncio.Future[StoreFailed]:
        """Resolves when the store cannot promise durability any more."""
        return self._failed

    @property
    def drain_timeout(self) -> float:
        """Seconds; the running configuration's."""
        running = self._house.reloader.running if self._house is not None else None
        return running.loaded.config.gateway.drain_timeout if running is not None else DEFAULT_DRAIN

    def dump(self) -> Mapping[str, Any]:
        """Counts for the log."""
        house = self._house
        if house is None:
            return {"state": "starting"}
        return {
            "connections": house.hub.count,
            "executions": house.runtime.counts(),
            "queued": house.runtime.lanes.queued,
            "bus": house.bus.stats(),
            "channels": [(one.name, one.state.value, one.queued) for one in house.channels.statuses()],
            "messages": house.messaging.engine.stats(),
            "push": house.push.stats(),
            "webhooks": house.http.reports,
            "store": house.store.health.value,
        }

    def status_line(self) -> str:
        """One line for people."""
        if self._house is None or not self._started:
            return "starting"
        house = self._house
        statuses = house.channels.statuses()
        up = sum(1 for one in statuses if one.state.value == "ready")
        running = house.reloader.running
        reload = "ok" if running is None or running.last.ok else "refused at the last reload, the old one serves"
        said = f"{up}/{len(statuses)} channels up, {house.sessions.active_count} sessions, configuration {reload}"
        degraded = house.operator.degraded()
        return f"{said}; degraded: {degraded[0]}" if degraded else said

    # What parts tell

    def _read(self) -> Loaded:
        """What the files say now; the log masks its secrets from here on, also if it is refused later."""
        loaded = self._configuration.read()
        self._parts.mask.add(loaded.secrets)
        return loaded

    def _use(self, loaded: Loaded) -> None:
        """The log's part of a configuration."""
        section = loaded.config.gateway.logging
        self._parts.logs.configure(section.level, section.format)

    def _changed(self) -> None:
        if self._started:
            self._parts.notify.status(self.status_line())

    async def _sessions_changed(self, _event: Event) -> None:
        self._changed()

    def _store_failed(self, error: StoreFailed) -> None:
        log.critical("store_failed", extra={"reason": error.message})
        if self._house is not None:
            self._house.tasks.start(self._house.health.set(serving=False), name="health")
        if not self._failed.done():
            self._failed.set_result(error)
