"""The middle of the house without its doors: a real store and bus, sessions, router and runtime, and agents by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from gatewayd.access.principals import Principal, local_principal
from gatewayd.agents.base import AgentContext, Output, TextOutput, Turn
from gatewayd.agents.workers import Workers
from gatewayd.bus.memory import MemoryBus
from gatewayd.config.checking import read
from gatewayd.config.model import GatewayConfig
from gatewayd.core.clock import Clock
from gatewayd.core.errors import AgentNotFound
from gatewayd.core.failpoints import NO_FAILPOINTS
from gatewayd.core.frames import Send
from gatewayd.core.ids import IdSource
from gatewayd.core.message import ChatContext, InboundMessage
from gatewayd.routing.endings import Endings
from gatewayd.routing.intake import Intake
from gatewayd.routing.router import Caller, Router
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.messaging import Messaging
from gatewayd.runtime.runtime import AgentRuntime
from gatewayd.runtime.state import SharedState
from gatewayd.runtime.views import Views
from gatewayd.service import TaskSet
from gatewayd.sessions import SessionManager
from gatewayd.storage.records import OutboxRow
from gatewayd.storage.sqlite import SQLiteStore
from gatewayd.testing.fakes import EvenRandomness, FakeClock
from gatewayd.wire import decode_event, encode_event

Play = Callable[[Turn, AgentContext], AsyncIterator[Output]]


class HandAgent:
    """An agent that waits for a word of the test before it ends; its turns are kept."""

    timeout = 60.0

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.steered: list[str] = []
        self.may_end = asyncio.Event()
        self.fails: Exception | None = None

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        self.turns.append(turn)
        self.steered += ctx.take_steering()
        yield TextOutput("half ")
        await self.may_end.wait()
        self.steered += ctx.take_steering()
        if self.fails is not None:
            raise self.fails
        yield TextOutput(f"of {turn.text}")


class _Agents:
    def __init__(self, agents: dict[str, HandAgent], workers: Workers) -> None:
        self._agents = agents
        self.workers = workers

    def get(self, name: str) -> Any:
        try:
            return self._agents[name]
        except KeyError:
            raise AgentNotFound(name) from None


class Middle:
    """See the module's docstring. `async with`; agents `a` and `b`; what was offered to outboxes is in `offered`."""

    def __init__(self, place: Path, config: dict[str, Any] | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.config = read(
            GatewayConfig, {"agents": {"a": {"model": "offline/echo"}, "b": {"model": "offline/echo"}}} | (config or {})
        )
        self.agents = {"a": HandAgent(), "b": HandAgent()}
        self.offered: list[OutboxRow] = []
        self.resent: list[OutboxRow] = []
        self.tasks = TaskSet("middle")
        self.bus = MemoryBus(self.tasks, self.clock)
        randomness = EvenRandomness()
        ids = self.ids = IdSource(self.clock, randomness)
        events = ExecutionEvents(self.clock, ids)
        self.store = SQLiteStore(
            place / "gateway.db",
            clock=self.clock,
            ids=ids,
            sink=self.bus,
            encode=encode_event,
            decode=decode_event,
            on_failed=_raise,
        )
        self.sessions = SessionManager(
            store=self.store,
            clock=self.clock,
            ids=ids,
            config=self.config,
            is_busy=self._is_busy,
        )
        self.router = Router(
            config=self.config,
            store=self.store,
            sessions=self.sessions,
            intake=Intake(self.clock, ids, events),
            endings=Endings(ids=ids, events=events, max_length=lambda _channel: 20),
            events=events,
            offer=self.offered.extend,
            resend=self._resend,
            clock=self.clock,
            failpoints=NO_FAILPOINTS,
        )
        agents: Any = _Agents(self.agents, Workers(self.clock, ids))
        views = Views(SharedState(store=self.store, clock=self.clock, ids=ids, events=events))
        self.messaging = Messaging(
            store=self.store,
            agents=agents,
            publish=self.bus.publish,
            tell=lambda _kind, _data: None,
            events=events,
            views=views,
            clock=self.clock,
            ids=ids,
        )
        self.runtime = AgentRuntime(
            store=self.store,
            agents=agents,
            sessions=self.sessions,
            publish=self.bus.publish,
            events=events,
            finish=self.router.finish,
            views=views,
            messaging=self.messaging,
            tasks=self.tasks,
            clock=self.clock,
            randomness=randomness,
            failpoints=NO_FAILPOINTS,
        )

    def _is_busy(self, session_id: str) -> bool:
        return self.runtime.lanes.is_busy(session_id) or self.runtime.suspending.rests_in(session_id)

    async def _resend(self, row: OutboxRow) -> None:
        self.resent.append(row)

    async def __aenter__(self) -> "Middle":
        await self.store.open()
        self.bus.attach(self.store)
        await self.sessions.start()
        self.router.attach(self.runtime)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.router.close()
        await self.runtime.stop()
        await self.router.stop()
        await self.tasks.close()
        await self.store.close()

    def use(self, config: dict[str, Any]) -> None:
        """As a reload does."""
        self.config = read(
            GatewayConfig, {"agents": {"a": {"model": "offline/echo"}, "b": {"model": "offline/echo"}}} | config
        )
        self.router.config = self.sessions.config = self.config

    def caller(self, client_id: str = "c1", principal: Principal | None = None) -> Caller:
        return Caller(principal or local_principal(), client_id)

    async def send(self, text: str, agent: str = "a", **more: Any) -> Any:
        """A client's message; what became of it."""
        return await self.router.accept_send(self.of(text, agent, **more), self.caller())

    def of(self, text: str, agent: str = "a", **more: Any) -> Send:
        """What a client sends."""
        return Send("r", text, agent=agent, **more)


def message(text: str, number: int = 1, **more: Any) -> InboundMessage:
    """A direct message of ann's to the channel `chat`."""
    details: dict[str, Any] = {
        "channel": "chat",
        "platform_id": f"p{number}",
        "chat": "room",
        "peer": "ann",
        "context": ChatContext.DM,
        "time": 0.0,
        "account": "bot",
    }
    return InboundMessage(text=text, **(details | more))


def _raise(error: Exception) -> None:
    raise error
