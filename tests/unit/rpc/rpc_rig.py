"""A store, a bus and the servicers around them; the caller is whom the bearer token names."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import grpc
from google.rpc import error_details_pb2, status_pb2

from gatewayd.access.audit import Audit
from gatewayd.access.gate import Gate
from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Scopes
from gatewayd.agents.workers import Workers
from gatewayd.bus.memory import MemoryBus
from gatewayd.config.model import GatewayConfig
from gatewayd.conversation.agent_mail import AgentMail
from gatewayd.conversation.directory import Directory
from gatewayd.conversation.publishing import Publishing
from gatewayd.conversation.subscriptions import Subscriptions
from gatewayd.core.clock import SeededRandomness
from gatewayd.core.errors import ExecutionFinished, NotFound, Unauthenticated
from gatewayd.core.ids import IdSource
from gatewayd.core.work import Execution, ExecutionState
from gatewayd.routing.closing import Closing
from gatewayd.routing.erasing import Erasing
from gatewayd.rpc.admin import AdminService
from gatewayd.rpc.agents import AgentService
from gatewayd.rpc.events import EventService
from gatewayd.rpc.guard import Guard
from gatewayd.rpc.patience import Rates
from gatewayd.rpc.runtime import RuntimeService
from gatewayd.rpc.sessions import SessionService
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.goals import Goals
from gatewayd.runtime.lanes import Lanes
from gatewayd.runtime.state import SharedState
from gatewayd.runtime.state_watch import StateWatches
from gatewayd.service import TaskSet
from gatewayd.sessions import SessionManager
from gatewayd.storage.records import Finish, SessionRecord
from gatewayd.storage.sqlite import SQLiteStore
from gatewayd.testing.fakes import FakeClock
from gatewayd.testing.store_cases import samples
from gatewayd.wire.events import decode_event, encode_event

SCOPES = {
    "root": [
        "events.publish:*@>",
        "events.subscribe:*@>",
        "agents.send:*",
        "sessions:all",
        "state:>",
        "admin.read",
        "admin.write",
    ],
    "ann": ["events.publish:*@>", "events.subscribe:*@>", "agents.send:*", "sessions:own"],
    "bob": ["events.publish:*@>", "events.subscribe:*@>", "agents.send:*", "sessions:own"],
    "narrow": ["events.subscribe:custom@orders.>", "state.read:orders.>", "sessions:own"],
    "teller": ["events.publish:broadcast@*"],
    "nobody": [],
}


class Aborted(Exception):
    """The call ended with a status."""

    def __init__(self, code: grpc.StatusCode, message: str, details: status_pb2.Status) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code, self.message, self.details = code, message, details

    @property
    def reason(self) -> str:
        return self.info.reason

    @property
    def info(self) -> Any:
        info = error_details_pb2.ErrorInfo()
        self.details.details[0].Unpack(info)
        return info


class FakeCall:
    """What a handler sees of a call."""

    def __init__(self, who: str, left: float | None = None) -> None:
        self._who, self._left = who, left

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        return (("authorization", f"Bearer {self._who}"),)

    def time_remaining(self) -> float | None:
        return self._left

    async def abort(self, code: grpc.StatusCode, message: str, trailers: Any) -> None:
        raise Aborted(code, message, status_pb2.Status.FromString(trailers[0][1]))


class ByName:
    """An authenticator that believes the token."""

    def authenticate(self, token: str | None, _transport: str, _source: str) -> Principal:
        if token not in SCOPES:
            raise Unauthenticated("the token is not valid")
        return Principal(token, Scopes.parse(SCOPES[token]), token_sha256=f"digest of {token}")


class FakeRuntime:
    """Executions that end as CANCELLED when asked to; lanes in which nothing is ever started."""

    def __init__(self, store: SQLiteStore) -> None:
        self._store = store
        self.lanes = Lanes(lambda _live: None)
        self.cancelled: list[tuple[str, str]] = []

    def live(self, execution_id: str) -> None:
        del execution_id

    async def cancel(self, execution_id: str, reason: str) -> None:
        stored = await self._store.get_execution(execution_id)
        if stored is None:
            raise NotFound(f"no execution {execution_id!r}")
        if stored.state.terminal:
            raise ExecutionFinished("it has ended")
        self.cancelled.append((execution_id, reason))
        end = Finish(execution_id, ExecutionState.CANCELLED, samples.NOW + 99, reason=reason)
        await self._store.finish(end)


class FakeRouter:
    """Cancels as the router does, without work of its own."""

    def __init__(self, runtime: FakeRuntime) -> None:
        self._runtime = self.runtime = runtime
        self.config = GatewayConfig()
        self.controls = self

    async def visible(self, execution_id: str, principal: Principal) -> Execution:
        stored = await self._runtime._store.get_execution(execution_id)
        if stored is None or not principal.may_see(stored.principal):
            raise NotFound(f"no execution {execution_id!r}")
        return stored

    async def cancel(self, execution_id: str, caller: Any, reason: str = "") -> None:
        await self.visible(execution_id, caller.principal)
        await self.end(execution_id, f"cancelled by {caller.principal.id}: {reason}")

    async def end(self, execution_id: str, reason: str) -> None:
        await self._runtime.cancel(execution_id, reason)


class Rig:
    """Everything that a servicer needs, over a real store and bus."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.ids = IdSource(self.clock, SeededRandomness(7))
        self.tasks = TaskSet("test")
        self.bus = MemoryBus(self.tasks, self.clock)
        self.store = SQLiteStore(
            path,
            clock=self.clock,
            ids=self.ids,
            sink=self.bus,
            encode=encode_event,
            decode=decode_event,
            on_failed=lambda error: None,
        )
        self.config = GatewayConfig()
        self.audit = Audit(self.store, self.clock)
        events = ExecutionEvents(self.clock, self.ids)
        self.state = SharedState(store=self.store, clock=self.clock, ids=self.ids, events=events)
        self.watches = StateWatches(self.state, self.bus, lambda: 1 << 20)
        self.goals = Goals(store=self.store, clock=self.clock, events=events)
        self.runtime = FakeRuntime(self.store)
        self.router = FakeRouter(self.runtime)
        self.sessions = SessionManager(store=self.store, clock=self.clock, ids=self.ids, config=self.config)
        self.rates = Rates(lambda: self.router.config.gateway.limits, self.clock)
        self.gate = gate = Gate(
            authenticator=cast(Any, ByName()), audit=self.audit, ids=self.ids, streams_per_client=lambda: 100
        )
        self.guard = Guard(gate)
        mail = AgentMail(self.clock, is_remote=lambda _name: False, kept=lambda: 60.0, queue_bytes=lambda: 1 << 20)
        self.directory = Directory(self.clock, mail, is_agent=lambda name: name == "echo", queue_bytes=lambda: 1 << 20)
        self.publishing = Publishing(
            store=self.store,
            bus=self.bus,
            clock=self.clock,
            ids=self.ids,
            addressing=self.directory,
            assignments=Workers(self.clock, self.ids),
            execution=lambda _: None,
            owner_of=self.sessions.owner_of,
        )
        self.operations: Any = SimpleNamespace()
        self.sends: Any = SimpleNamespace()
        self.messaging: Any = SimpleNamespace(engine=None, events=events)

    async def open(self) -> None:
        await self.store.open()
        self.bus.attach(self.store)
        await self.sessions.start()

    async def close(self) -> None:
        await self.tasks.close()
        await self.store.close()

    def connect(self, who: str, client_id: str) -> None:
        """A client that can be addressed, and reads nothing."""
        subscriptions = Subscriptions(bus=self.bus, oldest=lambda: self.bus.oldest, wake=lambda: None)
        there = SimpleNamespace(
            principal=Principal(who, Scopes.parse(SCOPES[who])), client_id=client_id, subscriptions=subscriptions
        )
        self.directory.connect(cast(Any, there), "")

    @property
    def events(self) -> EventService:
        return EventService(
            guard=self.guard,
            bus=self.bus,
            store=self.store,
            publishing=self.publishing,
            rates=self.rates,
            clock=self.clock,
        )

    @property
    def closing(self) -> Closing:
        router, nothing = cast(Any, self.router), AsyncMock()
        return Closing(
            self.sessions,
            router,
            self.store,
            Erasing(self.sessions, router, self.store, forget=nothing, reread=nothing),
        )

    @property
    def session_service(self) -> SessionService:
        return SessionService(
            guard=self.guard,
            runtime=cast(Any, self.runtime),
            store=self.store,
            closing=self.closing,
            audit=self.audit,
        )

    @property
    def runtime_service(self) -> RuntimeService:
        return RuntimeService(
            guard=self.guard,
            router=cast(Any, self.router),
            store=self.store,
            entry_points=cast(Any, None),
            state=self.state,
            watches=self.watches,
            goals=self.goals,
            works_on=lambda _principal, _execution: False,
            bus=self.bus,
            engine=cast(Any, None),
            rates=self.rates,
            clock=self.clock,
        )

    @property
    def admin(self) -> AdminService:
        return AdminService(guard=self.guard, operations=self.operations, store=self.store)

    @property
    def agents(self) -> AgentService:
        return AgentService(
            guard=self.guard,
            sends=self.sends,
            store=self.store,
            engine=cast(Any, None),
            speaking=cast(Any, None),
            publications=cast(Any, None),
            rates=self.rates,
        )

    async def work(
        self, number: int, *, owner: str = "ann", session: str = "s1", finished: bool = True, pieces: int = 1
    ) -> None:
        """One message of a session, and its answer."""
        record = chat_session(session, owner, active=samples.NOW + number)
        given = samples.acceptance(number, record=record)
        assert given.execution is not None
        given = replace(
            given,
            execution=replace(given.execution, principal=owner),
            inbound=replace(given.inbound, principal=owner),
            events=(samples.event(f"e{number}", session_id=session, owner=owner),),
        )
        await self.store.accept(given)
        if finished:
            await self.store.finish(
                replace(samples.finish(number, pieces=pieces, turn=samples.turn(number)), session_id=session)
            )


def chat_session(name: str, owner: str = "ann", active: float = samples.NOW) -> SessionRecord:
    """A session on the channel `tg` whose key is as the gateway builds it."""
    key = json.dumps(["chat", "tg", "bot", f"room-{name}", owner, ""])
    return replace(samples.session(name, key), principal=owner, last_active=active)
