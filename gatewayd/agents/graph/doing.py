"""One try of a node: its agent, its tool or its function, as outputs of which the text is the node's own."""

import json
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

from gatewayd.agents.base import AgentContext, AgentFailed, Output, TextOutput, ToolCompleted, ToolStarted, Turn
from gatewayd.agents.graph.functions import NodeCall, find_function
from gatewayd.agents.graph.progress import Progress
from gatewayd.agents.tools.registry import ToolRegistry
from gatewayd.agents.tools.toolbox import Caller, Toolbox, idempotency_key, read_arguments
from gatewayd.config.facts import Said
from gatewayd.config.graphs import NodeSection
from gatewayd.config.prompts import fill, fill_all
from gatewayd.core.errors import GatewayError
from gatewayd.core.value import value
from gatewayd.providers.base import ToolCall
from gatewayd.wire.values import valid_text

log = logging.getLogger("gatewayd.graphs")

FUNCTION_TIMEOUT: Final = 30.0
"""Seconds that a function is given whose node says nothing."""


class NodeAgent(Protocol):
    """An agent as the registry hands it out."""

    @property
    def timeout(self) -> float: ...

    @property
    def asks(self) -> Collection[str]:
        """The agents that it hands its turn to, once it is as `begun` gives it."""
        ...

    def begun(self) -> "NodeAgent":
        """The same for one execution: a graph with the agents of its nodes as they are now."""
        ...

    def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]: ...


@value(frozen=True, slots=True)
class Doers:
    """Who does what the nodes of one execution say."""

    agents: Mapping[str, NodeAgent | GatewayError]
    """The agents that the execution began with; an error for one that was not there."""
    tools: ToolRegistry

    @property
    def asks(self) -> set[str]:
        """Their names, and those of the agents of graphs among them."""
        there = (agent for agent in self.agents.values() if not isinstance(agent, GatewayError))
        return set(self.agents).union(*(agent.asks for agent in there))


def doers_of(names: set[str], find: Callable[[str], NodeAgent], tools: ToolRegistry) -> Doers:
    """The agents of these names as they are now."""
    agents: dict[str, NodeAgent | GatewayError] = {}
    for name in names:
        try:
            agents[name] = find(name).begun()
        except GatewayError as error:
            agents[name] = error
    return Doers(agents, tools)


@value(frozen=True, slots=True)
class Try:
    """Everything that one try of a node needs."""

    node_id: str
    node: NodeSection
    progress: Progress
    doers: Doers
    turn: Turn
    ctx: AgentContext

    def limit(self) -> float | None:
        """Seconds that it may take; None where what it calls has a bound of its own."""
        if self.node.timeout is not None:
            return self.node.timeout
        if self.node.does == "agent":
            agent = self.doers.agents[self.node.agent or ""]
            return None if isinstance(agent, GatewayError) else agent.timeout
        return FUNCTION_TIMEOUT if self.node.does == "function" else None

    def outputs(self) -> AsyncIterator[Output]:
        """Do it. Raises what it fails with."""
        match self.node.does:
            case "agent":
                return self._ask()
            case "tool":
                return self._call_tool()
            case "function":
                return self._call_function()
        return self._pass_on()

    async def _ask(self) -> AsyncIterator[Output]:
        agent = self.doers.agents[self.node.agent or ""]
        if isinstance(agent, GatewayError):
            raise agent
        facts = self.progress.facts()
        text = fill(self.node.prompt or "{{output}}", facts)
        turn = replace(self.turn, text=text if text.strip() else self.turn.text, call_scope=self._scope())
        async for output in agent.run(turn, self.ctx):
            yield output

    async def _call_tool(self) -> AsyncIterator[Output]:
        name, arguments = self.node.tool or "", self._arguments()
        try:
            read_arguments(json.dumps(arguments))
        except ValueError as error:
            raise AgentFailed(f"{self.node_id} cannot call {name}: {error}") from error
        box = Toolbox(self.node_id, [self.doers.tools.get(name)])
        call = ToolCall(self.node_id, name, json.dumps(arguments))
        yield ToolStarted(call.id, name, arguments)
        caller = Caller(self.ctx.clock, self.ctx.execution_id, self.turn.principal, self._scope())
        result = await box.run(call, caller)
        yield ToolCompleted(call.id, name, result.text, result.is_error)
        if result.is_error:
            raise AgentFailed(result.text.removeprefix("Error: "), cause=f"the tool {name} failed")
        yield TextOutput(result.text)

    async def _call_function(self) -> AsyncIterator[Output]:
        reference, arguments = self.node.function or "", self._arguments()
        key = idempotency_key(self.ctx.execution_id + self._scope(), reference, arguments, 0)
        call = NodeCall(
            task=self.turn.text,
            output=self.progress.last.text,
            arguments=arguments,
            memory={node: result.text for node, result in self.progress.memory.items()},
            node_id=self.node_id,
            execution_id=self.ctx.execution_id,
            principal=self.turn.principal,
            clock=self.ctx.clock,
            idempotency_key=key,
        )
        found = await find_function(reference)(call)
        text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, allow_nan=False)
        yield TextOutput(valid_text(text))

    async def _pass_on(self) -> AsyncIterator[Output]:
        """What a router is given is what it hands on; where it asks people, that is what they are asked."""
        yield TextOutput(fill(self.node.prompt, self.progress.facts()) if self.node.prompt else self.progress.last.text)

    def _arguments(self) -> dict[str, Any]:
        if self.node.arguments is not None:
            filled: dict[str, Any] = fill_all(self.node.arguments, self.progress.facts())
            return filled
        given = Said.of(self.progress.last.text).data
        return dict(given) if isinstance(given, dict) else {}

    def _scope(self) -> str:
        """Tells this visit's calls of tools apart from equal ones of others; the same for each try."""
        return f"{self.turn.call_scope}/{self.node_id}#{self.progress.step}"
