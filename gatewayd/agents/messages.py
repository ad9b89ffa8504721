"""Messages between agents, as seen by one that is at work; and agents that are classes of message handlers.

A class with `on_message` (a `HandlerAgent` of the message engine) is made by the engine, one instance per key. To a
turn of a chat it answers as to a message of text: what its handler returns is the answer.
"""

import copy
import dataclasses
import inspect
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from gatewayd.core.agents import DEFAULT_KEY, check_topic_type

if TYPE_CHECKING:
    from gatewayd.agents.base import AgentContext, Turn


class Sends(Protocol):
    """A part of `AgentContext`: messages to other agents, as part of this execution."""

    async def send(self, agent: str, message: object, *, key: str = DEFAULT_KEY, timeout: float | None = None) -> Any:
        """Ask an agent and wait for its reply: text, or what the handler of a Python agent returns.

        `key` names the instance that is asked; `timeout` in seconds, else as long as that agent may take for an answer.
        `AgentNotFound` at once; `CallCycle` if it waits for this execution; `Unavailable`, `DeadlineExceeded`,
        `UnhandledMessage`, `LimitExceeded`, and whatever its handler raises.
        """
        ...

    async def publish(self, topic: str, message: object) -> int:
        """Hand a message to every agent that hears the topic (`TYPE` or `TYPE/SOURCE`), this one excepted.

        Waits for none of them; how many will handle it. What becomes of it is told by events.
        """
        ...

    def as_agent(self, agent: str) -> "Sends":
        """The same, where what is said is said by that agent: for a graph, whose nodes are agents."""
        ...


def is_message_class(factory: object) -> bool:
    """Whether it is a class of message handlers, which only the engine can make."""
    return inspect.isclass(factory) and callable(getattr(factory, "on_message", None)) and not hasattr(factory, "run")


class MessageClass:
    """An agent that is a class of message handlers. `TypeError` or `InvalidArgument` for one that cannot be."""

    def __init__(self, name: str, kind: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self.name = name
        self.kind = kind
        self._options = options
        self._takes_options = bool(inspect.signature(kind).parameters)
        if options and not self._takes_options:
            raise TypeError("its __init__ takes no options, and there are some")
        for topics in (getattr(kind, "topics", ()), getattr(kind, "topic_prefixes", ())):
            if isinstance(topics, str):
                raise TypeError("its topics are no tuple")
            for topic in topics:
                check_topic_type(topic)
        if (routes := getattr(kind, "routes", None)) is not None:
            routes()

    def make(self) -> Any:
        """An instance; within a factory of the engine only."""
        return self.kind(copy.deepcopy(dict(self._options))) if self._takes_options else self.kind()

    async def run(self, turn: "Turn", ctx: "AgentContext") -> AsyncIterator[Any]:
        """A turn is a message of text to the instance of its session."""
        from gatewayd.agents.base import TextOutput  # noqa: PLC0415 - which needs this module

        reply = await ctx.send(self.name, turn.text, key=turn.session_id or DEFAULT_KEY)
        if reply is not None:
            yield TextOutput(text_of(reply))


def handlers_of(agent: object) -> MessageClass | None:
    """The class of message handlers that an agent of the registry is, if it is one."""
    found = getattr(agent, "agent", None)
    return found if isinstance(found, MessageClass) else None


def text_of(reply: object) -> str:
    """A reply as text: itself, or its JSON. `TypeError` for what has none."""
    if isinstance(reply, str):
        return reply
    plain = dataclasses.asdict(reply) if dataclasses.is_dataclass(reply) and not isinstance(reply, type) else reply
    return json.dumps(plain, ensure_ascii=False)
