"""Sending and publishing: from what a caller says to a call in the lane of its agent, and back with the reply."""

import asyncio
from functools import partial
from typing import Any

from gatewayd.core.agents import AgentId, Message, TopicId
from gatewayd.core.clock import Clock
from gatewayd.core.errors import Cancelled, Draining, InvalidArgument, LimitExceeded
from gatewayd.core.ids import IdSource
from gatewayd.core.tracing import Operation, Tracer, checked_traceparent
from gatewayd.engine.admitting import admitted
from gatewayd.engine.base import Admission, Passage, StateStore
from gatewayd.engine.call import Call
from gatewayd.engine.cancellation import CancellationToken
from gatewayd.engine.context import NOBODYS, Belonging
from gatewayd.engine.deadlines import Deadlines
from gatewayd.engine.errors import MessageRefused
from gatewayd.engine.events import DropReason, EventSink, MessageKind, Stage
from gatewayd.engine.handling import Handling
from gatewayd.engine.instances import Instances
from gatewayd.engine.keeping import Keeping
from gatewayd.engine.leaving import Leaving
from gatewayd.engine.life import EngineLife
from gatewayd.engine.limits import Limits
from gatewayd.engine.news import News
from gatewayd.engine.once import Once
from gatewayd.engine.runners import BURST, Runners
from gatewayd.engine.serializers import Serializers
from gatewayd.engine.subscriptions import Subscriptions
from gatewayd.engine.traffic import Traffic

_AHEAD = 256
"""Messages that may wait before a publisher lets the handlers have their turn."""


class Posting:
    """The half of an engine that messages go through."""

    def __init__(
        self,
        *,
        clock: Clock,
        ids: IdSource,
        limits: Limits,
        sink: EventSink | None,
        tracer: Tracer | None,
        admit: Admission | None,
        state: StateStore | None,
        ignore_unhandled_exceptions: bool,
    ) -> None:
        self.serializers = Serializers()
        self.new_id = ids.new
        self._clock = clock
        self._limits = limits
        self._ahead = min(_AHEAD, limits.queue // 2)
        self._tracer = tracer
        self._admit = admit
        self._traffic = traffic = Traffic()
        self._news = news = News(sink, traffic)
        self._subscriptions = Subscriptions()
        self._once = Once(clock, most=limits.remembered, seconds=limits.remembered_for)
        deadlines = Deadlines(clock, lambda call: self._handling.expire(call))  # noqa: PLW0108 - made below
        self._handling = handling = Handling(
            traffic=traffic,
            deadlines=deadlines,
            news=news,
            serializers=self.serializers,
            tracer=tracer,
            queue_limit=limits.queue,
            make=lambda lane: self._instances.make(lane),  # noqa: PLW0108 - made below
            abandon=lambda lane: self._instances.drop(lane),  # noqa: PLW0108 - made below
            unhandled=lambda error: self._life.unhandled(error),  # noqa: PLW0108 - made below
        )
        self._instances = Instances(
            engine=self,
            clock=clock,
            news=news,
            traffic=traffic,
            limits=limits,
            store=state,
            relist=handling.relist,
            withdrawn=handling.withdrawn,
        )
        self._keeping = Keeping(
            clock=clock,
            limits=limits,
            instances=self._instances,
            handling=handling,
            subscriptions=self._subscriptions,
            news=news,
            traffic=traffic,
        )
        self._leaving = Leaving(
            handling=handling, deadlines=deadlines, instances=self._instances, keeping=self._keeping
        )
        self._life = EngineLife(
            clock=clock,
            limits=limits,
            handling=handling,
            runners=Runners(handling, clock),
            deadlines=deadlines,
            instances=self._instances,
            keeping=self._keeping,
            leaving=self._leaving,
            traffic=traffic,
            ignore_unhandled_exceptions=ignore_unhandled_exceptions,
        )

    async def send(
        self,
        message: object,
        recipient: AgentId,
        *,
        sender: AgentId | None = None,
        timeout: float | None = None,
        message_id: str = "",
        cancellation_token: CancellationToken | None = None,
        idempotency_key: str = "",
        traceparent: str = "",
        belonging: Belonging = NOBODYS,
        within: Call | None = None,
        topic: TopicId | None = None,
    ) -> Any:
        """Ask an agent and wait for its reply; what its handler raises is raised here.

        A caller that says `Message` gets one. `timeout`: seconds (`Limits.timeout` if not given). `within`: the call
        whose handler asks; its deadline holds too, its session, execution and trace go on. `topic`: what the message
        was published about, where it is brought to its subscribers one by one.
        With an idempotency key, asking again for the same principal within `Limits.remembered_for` gives the first
        outcome.

        Raises, beside the handler's own: `AgentNotFound` at once; `UnhandledMessage`, `UnknownMessageType`,
        `MalformedMessage`; `LimitExceeded`; `ConstructionFailed`; `CallCycle`; `Superseded`; `DeadlineExceeded`;
        `Cancelled`, by the token or a stop; `Draining`; `IdConflict`; what the admission says.
        """
        registration = self._instances.registration(recipient.type)
        deadline = self._deadline(timeout)
        if within is not None:
            deadline = min(deadline, within.deadline)
            belonging, traceparent = (within.belonging if belonging is NOBODYS else belonging), within.trace
        elif traceparent:
            traceparent = checked_traceparent(traceparent)
        if type(message) is Message:
            message_id = message_id or message.message_id
        asked = message
        if self._admit is not None:
            passage = Passage(sender, recipient, message_id, belonging)
            message = await admitted(self._admit, message, passage, deadline, self._clock)
            registration = self._instances.registration(recipient.type)  # it may be another by now
        if idempotency_key:
            earlier = self._once.find((belonging.principal, sender, recipient, idempotency_key), asked)
            if earlier is not None:
                return self._as_asked(asked, await self._once.follow(earlier, deadline, cancellation_token))
        self._check_taking(cancellation_token)
        lane = registration.lanes.get(recipient.key) or self._instances.lane(registration, recipient)
        waiter = asyncio.get_running_loop().create_future()
        call = Call(self, lane, message, message_id, sender, topic, deadline, belonging, traceparent, within, waiter)
        if self._tracer is not None:
            reply = await self._traced(self._tracer, call, cancellation_token, idempotency_key, asked)
        else:
            self._post(call, cancellation_token)
            if idempotency_key:
                self._once.keep(call, idempotency_key, asked)
            reply = await self._reply(call, waiter, shared=bool(idempotency_key))
        if (type(reply) is Message) is not (type(asked) is Message):
            reply = self._as_asked(asked, reply)
        return reply

    async def publish(
        self,
        message: object,
        topic: TopicId,
        *,
        sender: AgentId | None = None,
        timeout: float | None = None,
        message_id: str = "",
        cancellation_token: CancellationToken | None = None,
        traceparent: str = "",
        belonging: Belonging = NOBODYS,
    ) -> int:
        """Hand a message to every agent that subscribed to the topic, its sender excepted, and wait for none of them.

        Returns how many will handle it. One that cannot take it misses it: counted, and told as `MessageDropped`. The
        handlers' failures reach neither the publisher nor each other. `timeout` is each handler's.

        Raises `Draining`, `Cancelled` by the token, and what the admission says.
        """
        deadline = self._deadline(timeout)
        traceparent = checked_traceparent(traceparent)
        if type(message) is Message:
            message_id = message_id or message.message_id
        message_id = message_id or self.new_id()
        if self._admit is not None:
            passage = Passage(sender, topic, message_id, belonging)
            try:
                message = await admitted(self._admit, message, passage, deadline, self._clock)
            except MessageRefused:
                self._news.not_delivered(DropReason.REFUSED, message, message_id, sender, topic, belonging=belonging)
                return 0
        self._check_taking(cancellation_token)
        if self._news.wanted:
            self._news.published(message, message_id, sender, topic, belonging)
        self._traffic.published += 1
        if self._tracer is not None:
            attributes = {"message_id": message_id, "sender": str(sender or "")}
            with self._tracer.span(Operation.PUBLISH, str(topic), parent=traceparent, attributes=attributes) as span:
                traceparent = span.traceparent
        taken = 0
        source = topic.source
        excepted = sender.type if sender is not None and sender.key == source else None
        for agent_type in self._subscriptions.agents_for(topic.type):
            if agent_type == excepted:
                continue
            registration = self._instances.types[agent_type]
            try:
                lane = registration.lanes.get(source) or self._instances.lane(registration, AgentId(agent_type, source))
                self._post(
                    Call(self, lane, message, message_id, sender, topic, deadline, belonging, traceparent, None, None),
                    cancellation_token,
                )
            except LimitExceeded:
                missed = AgentId(agent_type, source)
                self._news.not_delivered(
                    DropReason.OVERLOADED, message, message_id, sender, topic, agent=missed, belonging=belonging
                )
            else:
                taken += 1
        if self._traffic.queued > self._ahead:
            # Who publishes in a loop lets the handlers keep up, as far as they do not wait for something.
            for _ in range(1 + len(self._handling.ready) // BURST):
                await asyncio.sleep(0)
        return taken

    # What both need

    def _deadline(self, timeout: float | None) -> float:
        if timeout is None:
            timeout = self._limits.timeout
        elif not 0 < timeout <= self._limits.longest_timeout:
            raise InvalidArgument(f"a timeout is more than 0 and at most {self._limits.longest_timeout} seconds")
        return self._clock.monotonic() + timeout

    def _check_taking(self, token: CancellationToken | None) -> None:
        if not self._life.accepting:
            raise Draining("the message engine is stopped")
        if token is not None and token.is_cancelled():
            raise Cancelled("cancelled before it was sent")

    def _post(self, call: Call, token: CancellationToken | None) -> None:
        """Put the call into its lane."""
        traffic = self._traffic
        if traffic.queued + traffic.running >= self._limits.messages:
            traffic.refused += 1
            raise LimitExceeded(
                f"{traffic.in_flight} messages are under way", metadata={"limit": "engine.messages"}, retry_after=1.0
            )
        self._handling.offer(call)
        if token is not None:
            call.link = token.link_work(partial(self._handling.cancel, call, "its sender cancelled it"))
        if call.waiter is not None:
            traffic.sent += 1
            if self._news.wanted:
                self._news.stage(call, MessageKind.DIRECT, Stage.SEND, call.message)

    # What only sending needs

    async def _reply(self, call: Call, waiter: asyncio.Future[Any], *, shared: bool) -> Any:
        try:
            reply = await (asyncio.shield(waiter) if shared else waiter)
        except asyncio.CancelledError:
            self._handling.cancel(call, "its caller gave up")
            raise
        if self._news.wanted:
            self._news.stage(call, MessageKind.RESPOND, Stage.DELIVER, reply)
        return reply

    async def _traced(
        self, tracer: Tracer, call: Call, token: CancellationToken | None, key: str, asked: object
    ) -> Any:
        target = str(call.lane.id)
        attributes = {"message_id": call.message_id, "sender": str(call.sender or "")}
        with tracer.span(Operation.CREATE, target, parent=call.trace, attributes=attributes) as created:
            parent = created.traceparent
        assert call.waiter is not None
        with tracer.span(Operation.SEND, target, parent=parent, attributes=attributes) as sending:
            call.trace = sending.traceparent
            self._post(call, token)
            if key:
                self._once.keep(call, key, asked)
            reply = await self._reply(call, call.waiter, shared=bool(key))
        with tracer.span(Operation.ACK, target, parent=parent, attributes=attributes):
            return reply

    def _as_asked(self, asked: object, reply: object) -> object:
        """Who speaks in bytes is answered in bytes, and nobody else."""
        if type(asked) is not Message:
            return self.serializers.decode(reply) if isinstance(reply, Message) else reply
        return reply if isinstance(reply, Message) else self.serializers.encode(reply)
