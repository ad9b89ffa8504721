"""What publishing a message writes, when a client does it: for each agent that hears the topic a unit of its own.

So it is work like any other: accepted when it is on disk, run again after a crash, and its end kept. Between agents,
where a message is part of an execution that would run again, nothing of the kind is written.
"""

import asyncio
import hashlib
from collections.abc import Sequence

from gatewayd.core.agents import TopicId
from gatewayd.core.clock import Clock
from gatewayd.core.message import ReplyKind, ReplyTo
from gatewayd.core.value import value
from gatewayd.core.work import Execution, Origin
from gatewayd.routing.router import Router, Submitted
from gatewayd.routing.standalone import Standalone, unit_of
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.storage.records import Acceptance


@value(frozen=True, slots=True)
class Publication:
    """A message that a client publishes."""

    topic: TopicId
    text: str
    data_type: str
    """The type of the object whose JSON `text` is; '' for text."""
    principal: str
    correlation_id: str = ""
    idempotency_key: str = ""
    trace: str = ""
    """The traceparent of whoever publishes; '' for none."""


class Publications:
    """Takes them in."""

    def __init__(self, router: Router, clock: Clock, events: ExecutionEvents) -> None:
        self._router = router
        self._clock = clock
        self._events = events

    async def publish(self, message: Publication, agents: Sequence[str]) -> Sequence[Submitted]:
        """Returns when all of them are on disk, in the order of the agents.

        Raises if one could not be taken in; then others may have been, and the same key brings it to the rest.
        """
        self._router.runtime.lanes.check_room()
        units = [self._unit(message, agent) for agent in agents]
        work = [self._router.accept_work(unit, execution) for unit, execution in units]
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Submitted)]

    def _unit(self, message: Publication, agent: str) -> tuple[Acceptance, Execution]:
        topic = str(message.topic)
        work = Standalone(
            origin=Origin.MESSAGE,
            door=topic,
            principal=message.principal,
            agent=agent,
            text=message.text,
            reply_to=ReplyTo(ReplyKind.TOPIC, chat=topic, thread=message.data_type),
            stream_id=agent,
            rule=f"agents.{agent}.topics",
            dedupe_scope=f"message:{message.principal}",
            dedupe_id=f"{message.idempotency_key}/{agent}" if message.idempotency_key else "",
            digest=hashlib.sha256(repr((topic, message.data_type, message.text)).encode()).digest(),
            correlation_id=message.correlation_id,
            idempotency_key=message.idempotency_key,
            trace=message.trace,
        )
        return unit_of(work, self._clock, self._events, self._events.ids.new())
