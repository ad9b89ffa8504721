"""The router: the one door to work, and the way back.

Chat messages, gRPC sends and what starts an entry point become the same unit of work here: admitted, routed, given a
session, and written as one unit before anybody is told that they were accepted. I own no queue and no conversation; a
message that I accepted is in the store, with everything that is needed to answer it.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from gatewayd.access.scopes import Action
from gatewayd.config.model import ChannelSection, GatewayConfig
from gatewayd.core.clock import Clock
from gatewayd.core.errors import AgentNotFound, Draining, InvalidArgument, LimitExceeded, NoRoute
from gatewayd.core.failpoints import Failpoints
from gatewayd.core.frames import Send
from gatewayd.core.message import InboundMessage, ReplyKind, ReplyTo
from gatewayd.core.work import Execution, Trigger
from gatewayd.ledger import TOLD_LIMIT
from gatewayd.routing.answers import Answers
from gatewayd.routing.commits import Commits
from gatewayd.routing.commits import Submitted as Submitted  # noqa: PLC0414 (the router's own word)
from gatewayd.routing.controls import Caller as Caller  # noqa: PLC0414 (the router's own word)
from gatewayd.routing.controls import Controls
from gatewayd.routing.endings import Endings, turn
from gatewayd.routing.intake import Intake, chat_reply
from gatewayd.routing.policy import Verdict, admit
from gatewayd.routing.recovery import take_up
from gatewayd.routing.table import route, route_for
from gatewayd.routing.triggers import Triggers, dedupe_scope, entry_point
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.live import LiveExecution, Outcome
from gatewayd.runtime.runtime import AgentRuntime
from gatewayd.sessions import Opened, SessionManager, chat_key, chat_principal, client_key
from gatewayd.storage.base import Store
from gatewayd.storage.records import Acceptance, HistoryEntry, OutboxRow

log = logging.getLogger("gatewayd.routing")

Offer = Callable[[Sequence[OutboxRow]], None]
Resend = Callable[[OutboxRow], Awaitable[None]]


class Router:
    """See the module's docstring. `config` is swapped as a whole when a reload commits."""

    def __init__(
        self,
        *,
        config: GatewayConfig,
        store: Store,
        sessions: SessionManager,
        intake: Intake,
        endings: Endings,
        events: ExecutionEvents,
        offer: Offer,
        resend: Resend,
        clock: Clock,
        failpoints: Failpoints,
    ) -> None:
        self.config = config
        self._store = store
        self._sessions = sessions
        self._intake = intake
        self._endings = endings
        self._events = events
        self._offer = offer
        self._resend = resend
        self._clock = clock
        self._failpoints = failpoints
        self._triggers = Triggers(clock, events)
        self._commits = Commits(store, sessions, failpoints)
        self._runtime: AgentRuntime | None = None
        self._controls: Controls | None = None
        self._answers: Answers | None = None
        self._open = False

    def attach(self, runtime: AgentRuntime) -> None:
        """Give the router the runtime that it starts work in; the runtime in turn was given `finish`."""
        self._runtime = runtime
        self._controls = Controls(self._store, runtime, self._commits, self._check_open)
        self._answers = Answers(
            store=self._store,
            runtime=runtime,
            commits=self._commits,
            intake=self._intake,
            endings=self._endings,
            offer=self._offer,
            clock=self._clock,
        )
        runtime.suspending.offer, runtime.performer.prompt = self._offer, self._endings.prompt
        self._open = True

    def close(self) -> None:
        """Accept nothing more."""
        self._open = False

    async def stop(self) -> None:
        """Do what follows from the units that are still being written; the deadline is the caller's."""
        await self._commits.close()

    @property
    def is_open(self) -> bool:
        """Whether work is accepted."""
        return self._open

    @property
    def runtime(self) -> AgentRuntime:
        if self._runtime is None:
            raise RuntimeError("the router was used before it was attached to a runtime")
        return self._runtime

    @property
    def controls(self) -> Controls:
        """What may be done to executions that are under way."""
        if self._controls is None:
            raise RuntimeError("the router was used before it was attached to a runtime")
        return self._controls

    # In

    async def accept_chat(self, message: InboundMessage) -> None:
        """Take in one chat message; returns at commit. A repeat of one that is known has no effect."""
        self._check_open()
        section = self.config.channels.get(message.channel)
        if section is None:
            raise Draining(f"channel {message.channel!r} has left the configuration", retry_after=1.0)
        verdict, why = admit(section, message)
        if verdict is Verdict.SILENT:
            await self._turn_away(message, section, why)
            return
        try:
            agent, rule = route(self.config.channels, message.channel, message.context)
            self.runtime.lanes.check_room()
            opened = await self._sessions.open(
                chat_key(section, message),
                principal=chat_principal(section, message),
                agent=agent,
                channel=message.channel,
                rule=rule,
                policy=section,
            )
        except NoRoute as error:
            await self._turn_away(message, section, error.message, error.reason)
            return
        except LimitExceeded as error:
            if error.metadata.get("limit") != "max_sessions_per_agent":
                raise
            await self._turn_away(message, section, error.message, error.reason, tell=TOLD_LIMIT)
            return
        inbound = self._intake.from_chat(message, opened.record.principal)
        if verdict is Verdict.REMEMBER:
            entry = HistoryEntry("user", message.text, inbound.received)
            bounds = self.config.gateway.session_config
            kept = (entry,) if bounds.persist else ()
            remembered = self._intake.remembered(message, inbound, opened, why=why, history=kept, bounds=bounds)
            await self._commits.accept(remembered, lambda: self._sessions.extend(opened.record.id, [entry]), opened)
            return
        if self._answers is not None and await self._answers.take(message, opened):
            return
        execution = self._intake.execution(inbound, opened, agent, chat_reply(message))
        work = self._intake.chat_work(message, inbound, opened, execution)
        begin, reserve = lambda: self._begin(execution, section), self.runtime.lanes.reserve
        await self._commits.accept(work, begin, opened, reserve=reserve)

    async def accept_send(self, send: Send, caller: Caller) -> Submitted:
        """Take in a client's message to an agent, or to a channel whose routing decides."""
        self._check_open()
        if bool(send.agent) == bool(send.channel):
            raise InvalidArgument("name exactly one of agent and channel")
        if not send.text.strip():
            raise InvalidArgument("the message has no text")
        agent, rule = send.agent, ""
        section: ChannelSection | None = None
        if send.channel:
            agent, rule = route_for(self.config.channels, send.channel, send.context, caller.principal)
            section = self.config.channels[send.channel]
        else:
            caller.principal.require(Action.SEND, agent)
        if agent not in self.config.agents:
            known = caller.principal.names(Action.SEND, self.config.agents)
            raise AgentNotFound(f"no agent {agent!r} is configured (there are: {known})")
        self.runtime.lanes.check_room()
        opened = await self._open_for(send, caller, agent, rule, section)
        inbound = self._intake.from_client(send, caller.principal.id, caller.client_id)
        reply_to = ReplyTo(ReplyKind.CALLER, channel=send.channel, client_id=caller.client_id)
        execution = self._intake.execution(inbound, opened, agent, reply_to)
        execution = replace(
            execution,
            correlation_id=send.correlation_id or execution.id,
            idempotency_key=send.idempotency_key,
            trace=send.traceparent,
        )
        work = self._intake.client_work(send, inbound, opened, rule, execution)
        begin, reserve = lambda: self._begin(execution, section), self.runtime.lanes.reserve
        accepted, live = await self._commits.accept(work, begin, opened, reserve=reserve)
        return Submitted(accepted, live or await self.runtime.watched(accepted.execution_id))

    async def accept_trigger(self, trigger: Trigger, caller: Caller | None = None) -> Submitted:
        """Take in a reason to start an entry point; without a caller it is the daemon's own, such as the time."""
        self._check_open()
        if caller is not None:
            caller.principal.require(Action.RUNTIME, trigger.entry_point)
        entry = entry_point(self.config, trigger.entry_point, caller.principal if caller is not None else None)
        repeat = False
        try:
            self.runtime.lanes.check_room(trigger.entry_point)
        except LimitExceeded:  # a repeat takes no room
            key = trigger.idempotency_key
            repeat = bool(key) and await self._store.knows(dedupe_scope(trigger), key)
            if not repeat:
                raise
        work, execution = self._triggers.work(trigger, entry)
        return await self.accept_work(work, execution, resuming=bool(trigger.given), repeat=repeat)

    async def accept_work(
        self, work: Acceptance, execution: Execution, *, resuming: bool = False, repeat: bool = False
    ) -> Submitted:
        """Take in a unit that was made elsewhere, such as a message of a topic for one agent.

        With `repeat` it is known already, and takes no room.
        """
        self._check_open()
        lanes = self.runtime.lanes
        accepted, live = await self._commits.accept(
            work,
            lambda: self.runtime.submit(execution, resuming=resuming),
            reserve=None if repeat else lambda: lanes.reserve(execution.entry_point),
        )
        return Submitted(accepted, live or await self.runtime.watched(accepted.execution_id))

    async def _open_for(
        self, send: Send, caller: Caller, agent: str, rule: str, section: ChannelSection | None
    ) -> Opened:
        if send.session_id:
            return await self._sessions.resume(send.session_id, caller.principal.may_see)
        key = client_key(caller.principal.id, caller.client_id, agent, send.channel)
        return await self._sessions.open(
            key, principal=caller.principal.id, agent=agent, channel=send.channel, rule=rule, policy=section
        )

    async def _turn_away(
        self, message: InboundMessage, section: ChannelSection, why: str, reason: str = "", tell: str = ""
    ) -> None:
        """Journal a message that nobody is asked about: silent by policy, or told why not."""
        inbound = self._intake.from_chat(message, chat_principal(section, message))
        outbox = self._endings.rows(chat_reply(message), inbound.message_id, "", tell, inbound.received)
        await self._commits.accept(
            self._intake.turned_away(message, inbound, why, reason, outbox), lambda: self._offer(outbox)
        )

    def _begin(self, execution: Execution, section: ChannelSection | None) -> LiveExecution:
        mode = section.busy_mode if section is not None else "queue"
        if mode == "interrupt":
            running = self.runtime.lanes.running(execution.session_id)
            if running is not None:
                self.runtime.interrupt(running, "interrupted by a newer message")
        return self.runtime.submit(execution, steerable=mode == "steer")

    def _check_open(self) -> None:
        if not self._open:
            raise Draining("the gateway is stopping and takes no new work", retry_after=2.0)

    # Out

    async def finish(self, live: LiveExecution, outcome: Outcome) -> None:
        """Write the end of an execution as one unit, then let the outbox send."""
        came_back = live.resuming and bool(live.execution.session_id)
        questions = await self._store.questions_of(live.execution.id) if came_back else ()
        finish = self._endings.finish(self.config, live, outcome, self._clock.now(), questions)
        live.ran = await self._store.finish(finish)
        if live.asked:
            self._offer(live.take_asked())
        self._failpoints.hit("router.after_finish")
        absorbed = [one.execution for one in live.absorbed]
        if finish.session_id:
            self._sessions.extend(
                finish.session_id, turn(live.execution, absorbed, outcome, finish.finished, questions)
            )
        if finish.outbox:
            self._offer(finish.outbox)

    async def recover(self) -> int:
        """Take up what the last run of the daemon left unfinished; called once, before the doors open. How many."""
        return await take_up(self._store, self._endings, self.runtime, self._clock)

    async def retry_dead_letter(self, letter_id: str, actor: str) -> str:
        """An operator's retry: send it again, or run it again, even if they leave meanwhile. The id of its message."""
        return await self._commits.carry(self._retry(letter_id, actor), name="retry")

    async def _retry(self, letter_id: str, actor: str) -> str:
        again = await self._store.retry_dead_letter(letter_id, self._clock.now(), actor)
        if isinstance(again, OutboxRow):
            await self._resend(again)
        else:
            self.runtime.submit(again)
        return again.message_id
