"""The composition root: the only place that knows all parts, and who holds whom.

Read `__init__` and `_assemble` from top to bottom and you have read the architecture. No part asks for another by name.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatewayd.access.audit import Audit
from gatewayd.access.authenticator import Authenticator
from gatewayd.agents.factory import AgentFactory
from gatewayd.agents.registry import AgentRegistry
from gatewayd.agents.tools.registry import ToolRegistry
from gatewayd.bus.memory import MemoryBus
from gatewayd.channels.base import AdapterFactory, ChannelAdapter, ChannelIO, ChannelStatus
from gatewayd.channels.manager import ChannelManager
from gatewayd.config.loader import Loaded
from gatewayd.config.model import GatewayConfig
from gatewayd.conversation.conversation import Doors
from gatewayd.conversation.hub import ConversationHub
from gatewayd.conversation.publishing import Publishing
from gatewayd.conversation.sends import Sends
from gatewayd.core.errors import StoreFailed
from gatewayd.core.event import EventType
from gatewayd.core.ids import IdSource
from gatewayd.core.lifecycle import Change
from gatewayd.core.message import OutboundMessage
from gatewayd.daemon.configuration import Configuration
from gatewayd.daemon.operator import Operator
from gatewayd.daemon.options import Options, Parts
from gatewayd.daemon.reload import Plan, Reloader, Swap
from gatewayd.daemon.upkeep import Upkeep
from gatewayd.plugins import load_group
from gatewayd.providers.breaker import Breakers
from gatewayd.providers.pool import ProviderPool
from gatewayd.routing.endings import Endings
from gatewayd.routing.intake import Intake
from gatewayd.routing.router import Router
from gatewayd.rpc.guard import Guard
from gatewayd.rpc.neighbours import Health, guarded_neighbours
from gatewayd.rpc.server import Listen, RpcServer
from gatewayd.rpc.services import handlers
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.runtime import AgentRuntime
from gatewayd.service import Deadline, TaskSet
from gatewayd.sessions import SessionManager
from gatewayd.storage.records import Published
from gatewayd.storage.sqlite import SQLiteStore
from gatewayd.wire import decode_event, encode_event

log = logging.getLogger("gatewayd")

DATABASE = "gatewayd.db"
DEFAULT_DRAIN = 10.0
_FLUSH_SHARE = 0.6
"""Of the drain's time, what executions may take before the outboxes have their turn."""


class Gateway:
    """One gateway. `start`, then `drain_and_stop`; `reload` in between."""

    def __init__(self, options: Options, parts: Parts) -> None:
        self._options = options
        self._parts = parts
        self._configuration = Configuration(options, parts.disk)
        self._tasks = TaskSet("gateway")
        self._failed: asyncio.Future[StoreFailed] = asyncio.get_running_loop().create_future()
        self._draining = False
        self._started = False

        clock, ids = parts.clock, IdSource(parts.clock, parts.randomness)
        self._ids = ids
        self._bus = MemoryBus(self._tasks)
        self._events = ExecutionEvents(clock, ids)
        self._intake = Intake(clock, ids, self._events)
        factory = AgentFactory(
            providers=ProviderPool(load_group("gatewayd.providers"), clock),
            tools=ToolRegistry(load_group("gatewayd.tools")),
            breakers=Breakers(clock),
            clock=clock,
            randomness=parts.randomness,
        )
        self._agents = AgentRegistry(factory)
        self._health = Health()

    # Life

    async def start(self) -> None:
        """Become ready: configuration, store, parts, what was left unfinished, then the doors."""
        loaded = self._configuration.read()
        self._apply_logging(loaded)
        self._assemble(loaded.config)
        await self._store.open()
        self._bus.attach(self._store)
        await self._sessions.start()
        await self._authenticator.start()
        await self._reloader.begin(loaded)
        self._router.attach(self._runtime)
        left = await self._router.recover()
        await self._upkeep.start()
        await self._hub.start()
        await self._channels.start()
        await self._rpc.start()
        self._started = True
        for problem in loaded.warnings:
            log.warning("config_warning", extra={"problem": str(problem)})
        log.info("ready", extra={"agents": len(loaded.config.agents), "taken_up": left})

    def _assemble(self, config: GatewayConfig) -> None:
        """Make every part whose making needs the configuration; each gets what it needs and nothing else."""
        parts, clock, ids = self._parts, self._parts.clock, self._ids
        self._store = SQLiteStore(
            self._database(config.storage.url),
            clock=clock,
            ids=ids,
            sink=self._bus,
            encode=encode_event,
            decode=decode_event,
            on_failed=self._store_failed,
            durability=config.storage.durability,
            failpoints=parts.failpoints,
        )
        self._audit = Audit(self._store, clock)
        self._authenticator = Authenticator(
            clock=clock,
            randomness=parts.randomness,
            disk=parts.disk,
            state=self._options.paths.state,
            store=self._store,
            audit=self._audit,
            on_secret=lambda secret: parts.mask.add([secret]),
        )
        self._sessions = SessionManager(store=self._store, clock=clock, ids=ids, config=config)
        self._router = Router(
            config=config,
            store=self._store,
            sessions=self._sessions,
            intake=self._intake,
            endings=Endings(ids=ids, events=self._events, max_length=self._max_length),
            events=self._events,
            offer=lambda rows: self._channels.offer(rows),
            clock=clock,
            failpoints=parts.failpoints,
        )
        self._runtime = AgentRuntime(
            store=self._store,
            agents=self._agents,
            sessions=self._sessions,
            publish=self._bus.publish,
            events=self._events,
            finish=self._router.finish,
            tasks=self._tasks,
            clock=clock,
            randomness=parts.randomness,
            failpoints=parts.failpoints,
        )
        self._channels = ChannelManager(
            factories={name: _adapter(load) for name, load in load_group("gatewayd.channels").items()},
            store=self._store,
            inbox=self._router.accept_chat,
            io=ChannelIO(clock, parts.randomness, self._deliver_local),
            ids=ids,
            on_state=self._channel_changed,
            failpoints=parts.failpoints,
        )
        self._assemble_doors(config)

    def _assemble_doors(self, config: GatewayConfig) -> None:
        clock, store = self._parts.clock, self._store
        publishing = Publishing(
            store=store,
            bus=self._bus,
            clock=clock,
            ids=self._ids,
            denied=lambda principal, action, subject: self._audit.record(
                principal=principal.id, action=action, subject=subject, decision="denied"
            ),
        )
        sends = Sends(router=self._router, store=store, clock=clock)
        doors = Doors(
            router=self._router,
            publishing=publishing,
            sends=sends,
            bus=self._bus,
            oldest=lambda: self._bus.oldest,
            settings=lambda: self._reloader.config.gateway,
            clock=clock,
        )
        self._hub = ConversationHub(
            doors=doors,
            store=store,
            clock=clock,
            randomness=self._parts.randomness,
            ids=self._ids,
            end_of_log=lambda: self._bus.end,
        )
        self._authenticator.on_revoked(self._hub.end_revoked)
        self._reloader = Reloader(load=self._configuration.read, plans=self._plans(), tell=self._tell, clock=clock)
        self._upkeep = Upkeep(store=store, sessions=self._sessions, config=lambda: self._reloader.config, clock=clock)
        self._operator = Operator(
            reloader=self._reloader,
            config_path=str(self._options.config or ""),
            agents=self._agents,
            authenticator=self._authenticator,
            audit=self._audit,
            bus=self._bus,
            channels=self._channels,
            clock=clock,
            hub=self._hub,
            router=self._router,
            runtime=self._runtime,
            sessions=self._sessions,
            store=store,
            draining=lambda: self._draining,
        )
        guard = Guard(
            authenticator=self._authenticator,
            audit=self._audit,
            ids=self._ids,
            streams_per_client=lambda: self._reloader.config.gateway.limits.streams_per_client,
        )
        ours = handlers(
            guard=guard,
            hub=self._hub,
            router=self._router,
            runtime=self._runtime,
            sessions=self._sessions,
            store=store,
            bus=self._bus,
            publishing=publishing,
            sends=sends,
            operations=self._operator,
            clock=clock,
        )
        self._rpc = RpcServer(self._listen(config), [*ours, *guarded_neighbours(guard)], self._health)

    async def drain_and_stop(self, deadline: Deadline) -> None:
        """Close the doors, finish the work, send what is queued, put the tools away; each within its share."""
        self._draining = True
        if not hasattr(self, "_store"):
            return
        self._router.close()
        await deadline.run(self._rpc.drain(), name="rpc: drain")
        await deadline.run(self._channels.stop_receiving(), name="channels: stop receiving")
        self._hub.drain("the gateway is stopping")
        finished = await deadline.run(
            self._runtime.idle(), name="executions: finish", limit=deadline.remaining * _FLUSH_SHARE
        )
        if not finished:
            log.warning("executions_cut_off", extra={"executions": self._runtime.counts()})
        await self._runtime.stop()
        await deadline.run(self._channels.drain(), name="outboxes: flush")
        for name, work in (
            ("rpc", self._rpc.stop()),
            ("hub", self._hub.stop()),
            ("channels", self._channels.stop()),
            ("upkeep", self._upkeep.stop()),
            ("access", self._authenticator.stop()),
            ("agents", self._agents.close()),
            ("tasks", self._tasks.close()),
            ("store", self._store.close()),
        ):
            # Putting away is short and bounded by itself; a cut deadline must not lose an acknowledged write.
            last = Deadline(self._parts.clock, max(deadline.remaining, 2.0))
            if not await _step(last, name, work):
                log.warning("stop_late", extra={"part": name})

    async def reload(self) -> None:
        """SIGHUP: the outcome is told in the log, as an event and in the status."""
        try:
            await self._reloader.reload()
        except Exception as error:
            log.debug("reload_refused", extra={"reason": str(error)})

    def wait_failed(self) -> asyncio.Future[StoreFailed]:
        """Resolves when the store cannot promise durability any more."""
        return self._failed

    @property
    def drain_timeout(self) -> float:
        """Seconds; the running configuration's."""
        return self._reloader.config.gateway.drain_timeout if self._started else DEFAULT_DRAIN

    def dump(self) -> Mapping[str, Any]:
        """Counts for the log."""
        if not self._started:
            return {"state": "starting"}
        return {
            "connections": self._hub.count,
            "executions": self._runtime.counts(),
            "queued": self._runtime.lanes.queued,
            "bus": self._bus.stats(),
            "channels": [(one.name, one.state.value, one.queued) for one in self._channels.statuses()],
            "store": self._store.health.value,
        }

    def status_line(self) -> str:
        """One line for people."""
        if not self._started:
            return "starting"
        statuses = self._channels.statuses()
        up = sum(1 for one in statuses if one.state.value == "ready")
        running = self._reloader.running
        reload = "ok" if running is None or running.last.ok else "the last reload was refused"
        said = f"{up}/{len(statuses)} channels up, {self._sessions.active_count} sessions, configuration {reload}"
        degraded = self._operator.degraded()
        return f"{said}; degraded: {degraded[0]}" if degraded else said

    # Reload

    def _plans(self) -> list[Plan]:
        """Who takes part in a reload, in the order in which they prepare; the checks that fail soonest come first."""

        def access(old: GatewayConfig | None, new: Loaded) -> Change:
            return self._authenticator.plan(old, new.config)

        def agents(old: GatewayConfig | None, new: Loaded) -> Change:
            return self._agents.plan(old, new.config, new.unavailable)

        def channels(old: GatewayConfig | None, new: Loaded) -> Change:
            return self._channels.plan(old, new.config, initial=old is None, unavailable=new.unavailable)

        def settings(_: GatewayConfig | None, new: Loaded) -> Change:
            return Swap(lambda: self._use(new))

        return [access, agents, channels, settings]

    def _use(self, loaded: Loaded) -> None:
        self._router.config = loaded.config
        self._sessions.config = loaded.config
        self._apply_logging(loaded)

    def _apply_logging(self, loaded: Loaded) -> None:
        self._parts.mask.add(loaded.secrets)
        logging_section = loaded.config.gateway.logging
        self._parts.logs.configure(logging_section.level, logging_section.format)

    # What parts tell

    def _store_failed(self, error: StoreFailed) -> None:
        log.critical("store_failed", extra={"reason": error.message})
        self._tasks.start(self._health.set(serving=False), name="health")
        if not self._failed.done():
            self._failed.set_result(error)

    def _channel_changed(self, old: ChannelStatus, new: ChannelStatus) -> None:
        data: dict[str, object] = {
            "channel": new.name,
            "old": old.state.value,
            "new": new.state.value,
            "reason": new.reason,
            "retry_time": new.retry_time or None,
        }
        self._tell(EventType.CHANNEL_STATE_CHANGED, data, stream_id=new.name)
        if self._started:
            self._parts.notify.status(self.status_line())

    def _tell(self, kind: EventType, data: Mapping[str, object], stream_id: str = "gateway") -> None:
        self._store.append([Published(self._intake.event(kind, stream_id, data))], scope="")

    async def _deliver_local(self, message: OutboundMessage) -> str:
        """A message of the channel `local` is an event for the client that is its chat."""
        data = {"content": message.text, "parts": {}, "sender": message.channel, "reply_to": message.quote}
        event = replace(self._intake.event(EventType.MESSAGE, message.channel, data), target=message.chat)
        stamped = await self._store.append([Published(event)], scope="")
        return stamped[0].id

    def _max_length(self, channel: str) -> int:
        return self._channels.get(channel).max_message_length

    # Where

    def _database(self, url: str) -> Path:
        _, _, path = url.partition("sqlite://")
        return Path(path) if path else self._options.paths.state / DATABASE

    def _listen(self, config: GatewayConfig) -> Listen:
        gateway = config.gateway
        return Listen(
            host=gateway.host,
            port=gateway.port,
            socket=Path(gateway.socket) if gateway.socket else self._options.paths.socket,
            message_bytes=gateway.limits.message_bytes,
            metadata_bytes=gateway.limits.metadata_bytes,
        )


def _adapter(load: Callable[[], Any]) -> AdapterFactory:
    """The platform's module is imported only when a channel of it is made."""

    def make(name: str, settings: Any, io: ChannelIO) -> ChannelAdapter:
        adapter: ChannelAdapter = load()(name, settings, io)
        return adapter

    return make


async def _step(deadline: Deadline, name: str, work: Any) -> bool:
    try:
        return await deadline.run(work, name=f"{name}: stop")
    except Exception:  # the boundary of one part's end: the others must have theirs
        log.exception("stop_failed", extra={"part": name})
        return False
