"""The composition root: the only place that knows all parts, and who holds whom.

Read `Assembly` from top to bottom and you have read the architecture. Each part gets what it needs in its constructor
and cannot ask for another by name; where two floors need each other, the lower one is given a callable.
Longer than 300 lines because the drawing is on one page.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gatewayd import __version__
from gatewayd.access.audit import Audit
from gatewayd.access.authenticator import Authenticator
from gatewayd.access.gate import Gate
from gatewayd.agents.factory import AgentFactory
from gatewayd.agents.python import PythonAgents
from gatewayd.agents.registry import AgentRegistry
from gatewayd.agents.tools.registry import ToolRegistry
from gatewayd.bus.handlers import Handlers
from gatewayd.bus.memory import MemoryBus
from gatewayd.channels.base import AdapterFactory, ChannelAdapter, ChannelIO
from gatewayd.channels.manager import ChannelManager
from gatewayd.config.loader import Loaded
from gatewayd.config.model import GatewayConfig
from gatewayd.core.errors import StoreFailed
from gatewayd.core.ids import IdSource
from gatewayd.core.lifecycle import Change
from gatewayd.daemon.checks import Checks
from gatewayd.daemon.conversations import Conversations
from gatewayd.daemon.expiry import Expiry
from gatewayd.daemon.listeners import rpc_listen, web
from gatewayd.daemon.news import News
from gatewayd.daemon.operator import Operator
from gatewayd.daemon.options import Options, Parts
from gatewayd.daemon.reload import Plan, Reloader, Swap
from gatewayd.daemon.shared import Shared
from gatewayd.daemon.telemetry import telemetry
from gatewayd.daemon.upkeep import Upkeep
from gatewayd.plugins import Plugin, load_group
from gatewayd.providers.breaker import Breakers
from gatewayd.providers.pool import ProviderPool
from gatewayd.routing.closing import Closing
from gatewayd.routing.endings import Endings
from gatewayd.routing.erasing import Erasing
from gatewayd.routing.intake import Intake
from gatewayd.routing.router import Router
from gatewayd.rpc.guard import Guard
from gatewayd.rpc.neighbours import Health, Introspection
from gatewayd.rpc.server import RpcServer
from gatewayd.rpc.services import handlers
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.entry_points import EntryPointFeeds, shares
from gatewayd.runtime.messaging import Messaging
from gatewayd.runtime.returning import Returning
from gatewayd.runtime.runtime import AgentRuntime
from gatewayd.service import TaskSet
from gatewayd.sessions import SessionManager
from gatewayd.storage.records import OutboxRow, StoreHealth
from gatewayd.storage.sqlite import SQLiteStore
from gatewayd.wire import decode_event, encode_event

DATABASE = "gatewayd.db"
"""Name of the store in the state directory, unless `storage.url` gives another place."""


class Assembly:
    """All parts of one gateway, made but not started. `changed`, `reloaded` and `store_failed` are what it hears."""

    def __init__(
        self,
        options: Options,
        parts: Parts,
        loaded: Loaded,
        *,
        installed: Sequence[Plugin],
        python_agents: PythonAgents,
        read: Callable[[], Loaded],
        use: Callable[[Loaded], None],
        changed: Callable[[], None],
        reloaded: Callable[[], None],
        draining: Callable[[], bool],
        store_failed: Callable[[StoreFailed], None],
    ) -> None:
        config, clock = loaded.config, parts.clock
        self._use = use
        self.tasks = TaskSet("gateway")
        self.telemetry = telemetry(options.environ, __version__, clock)
        ids = IdSource(clock, parts.randomness)
        self.bus = MemoryBus(self.tasks, clock)
        events = ExecutionEvents(clock, ids, self.bus.unheard)
        intake = Intake(clock, ids, events)

        self.store = SQLiteStore(
            _database(options, config.storage.url),
            clock=clock,
            ids=ids,
            sink=self.bus,
            encode=encode_event,
            decode=decode_event,
            on_failed=store_failed,
            durability=config.storage.durability,
            failpoints=parts.failpoints,
        )
        self.shared = Shared(
            store=self.store,
            bus=self.bus,
            clock=clock,
            ids=ids,
            events=events,
            config=lambda: self.reloader.config,
            running=lambda name: self.runtime.per_entry_point().get(name, {}).get("running", 0),
        )
        self.news = News(self.store, intake, changed)
        self.audit = Audit(self.store, clock)
        self.authenticator = Authenticator(
            clock=clock,
            randomness=parts.randomness,
            disk=parts.disk,
            state=options.paths.state,
            store=self.store,
            audit=self.audit,
            on_secret=lambda secret: parts.mask.add([secret]),
        )
        self.agents = AgentRegistry(
            AgentFactory(
                providers=ProviderPool(load_group("gatewayd.providers", installed), clock),
                tools=ToolRegistry(load_group("gatewayd.tools", installed)),
                python=python_agents,
                breakers=Breakers(clock),
                clock=clock,
                randomness=parts.randomness,
            )
        )
        self.sessions = SessionManager(store=self.store, clock=clock, ids=ids, config=config, is_busy=self._is_busy)
        self.router = Router(
            config=config,
            store=self.store,
            sessions=self.sessions,
            intake=intake,
            endings=Endings(ids=ids, events=events, max_length=self._max_length),
            events=events,
            offer=self._offer,
            resend=self._resend,
            clock=clock,
            failpoints=parts.failpoints,
        )
        self.messaging = Messaging(
            store=self.store,
            agents=self.agents,
            publish=self.bus.publish,
            tell=self.news.tell,
            events=events,
            views=self.shared.views,
            clock=clock,
            ids=ids,
            tracer=self.telemetry.tracer,
        )
        self.runtime = AgentRuntime(
            store=self.store,
            agents=self.agents,
            sessions=self.sessions,
            publish=self.bus.publish,
            events=events,
            finish=self.router.finish,
            views=self.shared.views,
            messaging=self.messaging,
            tasks=self.tasks,
            clock=clock,
            randomness=parts.randomness,
            failpoints=parts.failpoints,
        )
        self.returning = Returning(
            store=self.store,
            suspending=self.runtime.suspending,
            lanes=self.runtime.lanes,
            workers=self.agents.workers,
            draining=draining,
            tasks=self.tasks,
            clock=clock,
            randomness=parts.randomness,
        )
        self.entry_points = EntryPointFeeds(
            store=self.store, bus=self.bus, clock=clock, dispatch=self.router.accept_trigger, tell=self.news.tell
        )
        self.erasing = Erasing(
            self.sessions,
            self.router,
            self.store,
            forget=self.shared.goals.forget_executions,
            reread=self.entry_points.reread,
        )
        self.channels = ChannelManager(
            factories={name: _adapter(load) for name, load in load_group("gatewayd.channels", installed).items()},
            store=self.store,
            inbox=self.router.accept_chat,
            io=ChannelIO(clock, parts.randomness, self.news.deliver_local),
            ids=ids,
            on_state=self.news.channel_changed,
            answered=self.runtime.answered,
            unanswered=self.runtime.unanswered,
            failpoints=parts.failpoints,
        )
        self.reloader = Reloader(
            load=read,
            plans=self._plans(),
            tell=self.news.tell,
            clock=clock,
            begun=parts.notify.reloading,
            ended=lambda: self._ended(reloaded),
        )
        self.expiry = Expiry(self.store, senders=self.channels.senders, ids=ids, clock=clock)
        self.upkeep = Upkeep(
            store=self.store,
            sessions=self.sessions,
            expiry=self.expiry,
            suspending=self.runtime.suspending,
            finish_erasures=self.erasing.finish,
            config=lambda: self.reloader.config,
            clock=clock,
        )

        talk = Conversations(
            store=self.store,
            bus=self.bus,
            clock=clock,
            randomness=parts.randomness,
            ids=ids,
            agents=self.agents,
            sessions=self.sessions,
            router=self.router,
            engine=self.messaging.engine,
            config=lambda: self.reloader.config,
            refused=self.audit.refused,
        )
        self.hub, self.push = talk.hub, talk.push
        self.handlers = Handlers(self.bus, lambda: self.reloader.config.bus.handler_concurrency)
        self.authenticator.on_lost(talk.end_lost)
        self.authenticator.on_lost(self.shared.watches.end_lost)
        self.operator = Operator(
            reloader=self.reloader,
            config_path=str(options.config or ""),
            agents=self.agents,
            authenticator=self.authenticator,
            audit=self.audit,
            bus=self.bus,
            channels=self.channels,
            clock=clock,
            hub=self.hub,
            router=self.router,
            runtime=self.runtime,
            sessions=self.sessions,
            store=self.store,
            waiting=lambda: self.expiry.waiting,
            webhooks=lambda: self.http.reports,
            draining=draining,
            checks=Checks(
                store=self.store,
                database=_database(options, config.storage.url),
                disk=parts.disk,
                bus=self.bus,
                runtime=self.runtime,
                agents=self.agents,
                channels=self.channels.statuses,
                web=lambda: self.http,
                reloader=self.reloader,
                clock=clock,
            ),
        )
        gate = Gate(
            authenticator=self.authenticator,
            audit=self.audit,
            ids=ids,
            streams_per_client=lambda: self.reloader.config.gateway.limits.streams_per_client,
        )
        self.waits = gate.waits
        self.authenticator.on_lost(self.waits.end_lost)
        guard = Guard(gate)
        ours = handlers(
            guard=guard,
            hub=self.hub,
            router=self.router,
            runtime=self.runtime,
            closing=Closing(self.sessions, self.router, self.store, self.erasing),
            store=self.store,
            bus=self.bus,
            publishing=talk.publishing,
            sends=talk.sends,
            speaking=talk.speaking,
            rates=talk.rates,
            push=self.push,
            entry_points=self.entry_points,
            operations=self.operator,
            state=self.shared.state,
            watches=self.shared.watches,
            goals=self.shared.goals,
            works_on=self.agents.workers.works_for,
            messaging=self.messaging,
            clock=clock,
        )
        self.health = Health()
        listen = rpc_listen(options, config, lambda: self.reloader.config.gateway.tls)
        self.rpc = RpcServer(listen, [*ours, Introspection(guard)], self.health)
        self.http = web(
            hub=self.hub,
            push=self.push,
            gate=gate,
            store=self.store,
            ids=ids,
            settings=lambda: self.reloader.config.gateway,
            draining=draining,
            is_serving=lambda: self.store.health is not StoreHealth.FAILED,
            clock=clock,
        )

    def _plans(self) -> list[Plan]:
        """Who takes part in a reload, in the order in which they prepare."""

        def access(old: GatewayConfig | None, new: Loaded) -> Change:
            return self.authenticator.plan(old, new.config)

        def agents(old: GatewayConfig | None, new: Loaded) -> Change:
            return self.agents.plan(old, new.config, new.unavailable)

        def messaging(_: GatewayConfig | None, new: Loaded) -> Change:
            return self.messaging.plan(new.config)

        def channels(old: GatewayConfig | None, new: Loaded) -> Change:
            return self.channels.plan(old, new.config, initial=old is None, unavailable=new.unavailable)

        def settings(_: GatewayConfig | None, new: Loaded) -> Change:
            return Swap(lambda: self._settle(new))

        def push(old: GatewayConfig | None, new: Loaded) -> Change:
            return self.push.plan(old, new)

        def entry_points(_: GatewayConfig | None, new: Loaded) -> Change:
            return self.entry_points.plan(new.config)

        def goals(_: GatewayConfig | None, new: Loaded) -> Change:
            return self.shared.goal_feed.plan(new.config)

        return [
            access,
            agents,
            messaging,
            channels,
            push,
            lambda _, new: self.http.plan(new),
            settings,
            entry_points,
            goals,
        ]

    def _settle(self, loaded: Loaded) -> None:
        self.router.config = loaded.config
        self.sessions.config = loaded.config
        self.runtime.performer.settings = loaded.config.runtime
        self.runtime.lanes.configure(loaded.config.runtime.max_concurrent_executions, shares(loaded.config))
        self._use(loaded)

    def _offer(self, rows: Sequence[OutboxRow]) -> None:
        self.channels.offer(rows)

    async def _resend(self, row: OutboxRow) -> None:
        await self.channels.retry(row)

    def _ended(self, reloaded: Callable[[], None]) -> None:
        self.upkeep.look()
        reloaded()

    def _is_busy(self, session_id: str) -> bool:
        return self.runtime.lanes.is_busy(session_id) or self.runtime.suspending.rests_in(session_id)

    def _max_length(self, channel: str) -> int:
        return self.channels.max_message_length(channel)


def _adapter(load: Callable[[], Any]) -> AdapterFactory:
    """The platform's module is imported only when a channel of it is made."""

    def make(name: str, settings: Any, io: ChannelIO) -> ChannelAdapter:
        adapter: ChannelAdapter = load()(name, settings, io)
        return adapter

    return make


def _database(options: Options, url: str) -> Path:
    _, _, path = url.partition("sqlite://")
    return Path(path) if path else options.paths.state / DATABASE
