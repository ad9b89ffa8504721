"""Configured agents as agents of the message engine: each message is one run, within the limits of every run.

The agent is looked up at each message, so that a reload holds from the next one on.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from gatewayd.agents.base import AgentFailed, TextOutput, Turn
from gatewayd.agents.registry import AgentRegistry, RegisteredAgent
from gatewayd.core.agents import ContentType, Message
from gatewayd.core.clock import Clock, TimeIsOver
from gatewayd.core.errors import DeadlineExceeded, ExecutionFailed, InvalidArgument
from gatewayd.engine.base import MessageAgent
from gatewayd.engine.call import Call
from gatewayd.engine.context import MessageContext
from gatewayd.engine.errors import MalformedMessage
from gatewayd.providers.bounds import closing
from gatewayd.runtime.context import HandlingContext
from gatewayd.runtime.speaking import TEXT, Work

MAX_REPLY = 2 * 1024 * 1024
"""Longest reply of an agent that speaks text, in bytes."""

_GRACE = 1.0
"""Seconds; the time limit here speaks first, since it knows the name of the agent."""
Contexts = Callable[[str, Call], HandlingContext]
"""The context in which an agent handles a message."""


class TextAgent:
    """An agent that is asked in text: a model's, workers', or a Python class with `run`."""

    takes_bytes = True

    def __init__(self, name: str, agents: AgentRegistry, contexts: Contexts, clock: Clock) -> None:
        self._name = name
        self._agents = agents
        self._contexts = contexts
        self._clock = clock

    async def on_message(self, message: Message, ctx: MessageContext, /) -> str:
        """One run; its text is the reply."""
        agent = self._agents.get(self._name)
        data_type, text = _read(message)
        turn = Turn(
            text=text,
            session_id=ctx.session_id,
            principal=ctx.belonging.principal,
            topic=str(ctx.topic or ""),
            sender=str(ctx.sender or ""),
            data_type=data_type,
            call_scope=f"/{ctx.agent}:{ctx.belonging.scope}" if isinstance(ctx.belonging, Work) else "",
        )
        if not isinstance(ctx, Call):
            raise InvalidArgument("an agent of the configuration handles messages of the daemon's engine alone")
        _bring_forward(ctx, agent.timeout, self._clock)
        context = self._contexts(self._name, ctx)
        try:
            async with self._clock.timeout(agent.timeout):
                return await _run(agent, turn, context)
        except TimeIsOver:
            raise _late(self._name) from None
        except AgentFailed as failure:
            raise ExecutionFailed(str(failure)) from failure

    async def save_state(self) -> Mapping[str, Any]:
        """Nothing: what it remembers is its own affair."""
        return {}

    async def load_state(self, state: Mapping[str, Any], /) -> None:
        """Nothing to take up."""

    async def close(self) -> None:
        """Nothing to let go of."""


class TimedHandlers:
    """An instance of a class of message handlers, each of which has the agent's time."""

    def __init__(self, name: str, agents: AgentRegistry, handlers: MessageAgent, clock: Clock) -> None:
        self._name = name
        self._agents = agents
        self._clock = clock
        self.handlers = handlers
        self.takes_bytes = bool(getattr(handlers, "takes_bytes", False))
        self.save_state, self.load_state, self.close = handlers.save_state, handlers.load_state, handlers.close

    async def on_message(self, message: Any, ctx: MessageContext, /) -> Any:
        agent = self._agents.get(self._name)
        if isinstance(ctx, Call):
            _bring_forward(ctx, agent.timeout, self._clock)
        try:
            async with self._clock.timeout(agent.timeout):
                return await self.handlers.on_message(message, ctx)
        except TimeIsOver:
            raise _late(self._name) from None


async def _run(agent: RegisteredAgent, turn: Turn, context: HandlingContext) -> str:
    pieces: list[str] = []
    size = 0
    async with closing(agent.run(turn, context)) as outputs:
        async for output in outputs:
            if isinstance(output, TextOutput):
                size += len(output.content.encode(errors="replace"))
                if size > MAX_REPLY:
                    raise AgentFailed("The answer grew too long.", cause=f"more than {MAX_REPLY} bytes")
                pieces.append(output.content)
            await context.put_out(output)
    return "".join(pieces)


def _bring_forward(call: Call, timeout: float, clock: Clock) -> None:
    """What does not end by its own time limit is cut off by the engine: that waits for it a little, and goes on."""
    call.deadline = min(call.deadline, clock.monotonic() + timeout + _GRACE)


def _late(name: str) -> DeadlineExceeded:
    return DeadlineExceeded(f"{name} did not finish in time", metadata={"agent": name})


def _read(message: Message) -> tuple[str, str]:
    """Its type and its text; the type of text is ''."""
    if message.data_content_type is not ContentType.JSON:
        raise MalformedMessage(f"{message.data_type} is no text, and the agent reads nothing else")
    try:
        text = message.data.decode()
        plain = json.loads(text) if message.data_type == TEXT else None
    except ValueError:
        raise MalformedMessage(f"the data of a {message.data_type} is no JSON") from None
    return ("", plain) if isinstance(plain, str) else (message.data_type, text)
