"""What agents say to each other: every message belongs to an execution, and goes through the message engine.

I know whose work a message is part of and how long it may take; the engine knows instances, queues and topics.
"""

import hashlib
from collections.abc import Callable
from dataclasses import field
from typing import Any

from gatewayd.agents.messages import handlers_of, text_of
from gatewayd.agents.registry import AgentRegistry
from gatewayd.core.agents import DEFAULT_KEY, AgentId, ContentType, Message, TopicId
from gatewayd.core.errors import LimitExceeded
from gatewayd.core.value import value
from gatewayd.core.work import Execution
from gatewayd.engine.base import Passage
from gatewayd.engine.call import Call
from gatewayd.engine.context import Belonging
from gatewayd.engine.engine import MessageEngine
from gatewayd.engine.serializers import NOTHING
from gatewayd.wire.values import valid_text

MOST_MESSAGES = 10_000
"""Messages that one execution sends and publishes, all agents together that work on it."""
TEXT = "str"
"""The data type of text."""


class Tally:
    """How many messages were sent and published within one execution; one for all that belongs to it."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


@value(frozen=True, slots=True)
class Work(Belonging):
    """Whose work a message is part of, with the execution itself."""

    execution: Execution | None = None
    tally: Tally = field(default_factory=Tally, compare=False, repr=False)
    scope: str = ""
    """Tells the work on this message apart from that on others of the execution: see `Turn.call_scope`."""
    said: dict[str, int] = field(default_factory=dict, compare=False, repr=False)
    """How often each message was sent or published by whoever handles this one."""

    def sent(self, sender: AgentId, receiver: AgentId | TopicId, message: object, place: str = "") -> "Work":
        """See `Belonging.sent`. The same message of the same handler has the same scope when all that is run again.

        `place`: from where it would be run again.
        """
        told = message if isinstance(message, str) else message.data if isinstance(message, Message) else type(message)
        content = repr((self.scope, place, str(sender), str(receiver), told)).encode(errors="replace")
        key = hashlib.blake2b(content, digest_size=8).hexdigest()
        count = self.said[key] = self.said.get(key, 0) + 1
        return Work(self.session_id, self.execution_id, self.principal, self.execution, self.tally, f"{key}#{count}")


def work_of(execution: Execution) -> Work:
    """To what the messages of an execution belong."""
    return Work(execution.session_id, execution.id, execution.principal, execution)


class Voice:
    """With this an agent at work speaks to others. `within` is the message that it handles, if that is what it does."""

    def __init__(
        self,
        engine: MessageEngine,
        agents: AgentRegistry,
        work: Work,
        sender: AgentId,
        *,
        within: Call | None = None,
        trace: str = "",
        place: Callable[[], str] = str,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`place` names the checkpoint from which the agent would go on if it was cut off now.

        `check` raises when the agent may speak no more, whoever it speaks as.
        """
        self._engine = engine
        self._agents = agents
        self._work = work
        self._sender = sender
        self._within = within
        self._trace = trace
        self._place = place
        self._check = check

    @property
    def trace(self) -> str:
        """See `AgentContext.trace`."""
        return self._within.trace if self._within is not None else self._trace

    async def send(self, agent: str, message: object, *, key: str = DEFAULT_KEY, timeout: float | None = None) -> Any:
        """See `Sends.send`."""
        self._check()
        asked = self._agents.get(agent)
        # What somebody says to a class of handlers in a chat comes by this way, and no agent said it.
        turn = agent == self._sender.type and handlers_of(asked.agent) is not None
        receiver = AgentId(agent, key)
        return await self._engine.send(
            message,
            receiver,
            sender=None if turn else self._sender,
            timeout=asked.timeout if timeout is None else timeout,
            traceparent=self.trace,
            belonging=self._work.sent(self._sender, receiver, message, self._place()),
            within=self._within,
        )

    async def publish(self, topic: str, message: object) -> int:
        """See `Sends.publish`."""
        self._check()
        about = TopicId.parse(topic)
        work = self._work.sent(self._sender, about, message, self._place())
        return await self._engine.publish(message, about, sender=self._sender, traceparent=self.trace, belonging=work)

    def as_agent(self, agent: str) -> "Voice":
        """See `Sends.as_agent`."""
        sender, within = AgentId(agent), self._within
        return Voice(
            self._engine,
            self._agents,
            self._work,
            sender,
            within=within,
            trace=self._trace,
            place=self._place,
            check=self._check,
        )


async def deliver(engine: MessageEngine, execution: Execution, timeout: float, trace: str) -> str | None:
    """Bring what a client published to the agent of the execution; what its handler returns, as text."""
    topic, data_type = TopicId.parse(execution.reply_to.chat), execution.reply_to.thread
    message = json_message(data_type, execution.text) if data_type else execution.text
    receiver = AgentId(execution.agent, topic.source)
    belonging = work_of(execution)
    reply = await engine.send(message, receiver, timeout=timeout, traceparent=trace, belonging=belonging, topic=topic)
    if isinstance(reply, Message):
        if reply.data_type not in (TEXT, NOTHING):
            return reply.data.decode(errors="replace")
        reply = engine.serializers.decode(reply)
    return None if reply is None else valid_text(text_of(reply))


class Door:
    """The admission of the daemon's engine: how long a message may be, and how many of them one execution makes.

    `most`: bytes. The second bound ends agents that publish to each other for ever.
    """

    def __init__(self, most: int) -> None:
        self.most = most

    async def admit(self, message: object, passage: Passage) -> object:
        """See `engine.base.Admission`."""
        if isinstance(work := passage.belonging, Work):
            work.tally.count += 1
            if work.tally.count > MOST_MESSAGES:
                raise LimitExceeded(
                    f"execution {work.execution_id} has sent {MOST_MESSAGES} messages",
                    metadata={"limit": "messages_of_an_execution"},
                )
        size = 0
        if isinstance(message, str):
            size = len(message) if message.isascii() else len(message.encode(errors="replace"))
        elif isinstance(message, Message):
            size = len(message.data)
        if size > self.most:
            raise LimitExceeded(
                f"a message has at most {self.most} bytes, this one to {passage.receiver} has {size}",
                metadata={"limit": "gateway.limits.message_bytes"},
            )
        return message


def json_message(data_type: str, text: str) -> Message:
    """A message of JSON."""
    return Message(data_type, text.encode(), ContentType.JSON)
