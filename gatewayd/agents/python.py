"""Agents that are Python code: found by name, made by their factories, and held to the contract of an agent.

`agents.<id>.class` is `module:Factory`, or the name of an entry point of the group `gatewayd.agents`. The factory is
called with the agent's name and its options and returns an `Agent`. It is called when a configuration is checked, too,
so that what the check accepts can be run: it makes the object and does nothing else.
"""

import copy
import importlib
import inspect
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Any

from gatewayd.agents.base import (
    Agent,
    AgentContext,
    Output,
    ReasoningOutput,
    TextOutput,
    ToolCompleted,
    ToolStarted,
    Turn,
)
from gatewayd.core.value import value
from gatewayd.plugins import PluginError
from gatewayd.providers.bounds import closing
from gatewayd.wire.values import valid_text

GROUP = "gatewayd.agents"


@value(frozen=True, slots=True)
class _Made:
    reference: str
    options: str
    agent: "PythonAgent"


class PythonAgents:
    """Makes them; the object of an agent whose class and options did not change is given again."""

    def __init__(self, offered: Mapping[str, Callable[[], Any]]) -> None:
        """`offered` are the entry points of the group, by name."""
        self._offered = offered
        self._made: dict[str, _Made] = {}

    def make(self, name: str, reference: str, options: Mapping[str, Any]) -> "PythonAgent":
        """The agent; `PluginError` says why there can be none."""
        known, text = self._made.get(name), json.dumps(options, sort_keys=True, default=repr)
        if known is not None and (known.reference, known.options) == (reference, text):
            return known.agent
        factory = self._find(reference)
        if not callable(factory):
            raise PluginError(f"{reference} is no factory: it cannot be called")
        try:
            agent = factory(name, copy.deepcopy(dict(options)))
        except (Exception, SystemExit) as error:  # the boundary of somebody's factory
            raise PluginError(f"{reference} did not make the agent: {type(error).__name__}: {error}") from error
        if why := _objection(agent):
            raise PluginError(f"{reference} made no agent: {why}")
        made = self._made[name] = _Made(reference, text, PythonAgent(agent))
        return made.agent

    def keep(self, names: Collection[str]) -> None:
        """Forget the agents with other names."""
        for name in self._made.keys() - set(names):
            del self._made[name]

    def _find(self, reference: str) -> Any:
        module, colon, path = reference.partition(":")
        if not colon and reference in self._offered:
            return self._offered[reference]()
        if not colon:
            module, dot, path = reference.rpartition(".")
            if not dot:
                offered = ", ".join(sorted(self._offered)) or "none"
                raise PluginError(
                    f"no {GROUP} plugin is called {reference!r} (installed: {offered}); write module:Factory for one "
                    "that is not installed as a plugin"
                )
        try:
            found = importlib.import_module(module)
            for step in path.split("."):
                found = getattr(found, step)
        except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
            raise PluginError(f"{reference} cannot be imported: {type(error).__name__}: {error}") from error
        return found


class PythonAgent:
    """Somebody's agent, with what it puts out checked: it must be sayable and storable."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        """See `Agent.run`. `TypeError` for what is no output."""
        async with closing(self.agent.run(turn, ctx)) as outputs:
            async for output in outputs:
                yield _checked(output)


def _objection(agent: object) -> str:
    """Why the object is no agent; '' if it is one."""
    if inspect.iscoroutine(agent):
        agent.close()
        return "the factory is async, and must not be"
    run = getattr(agent, "run", None)
    if inspect.isclass(agent) or not callable(run):
        return f"{type(agent).__name__} has no method run"
    if inspect.iscoroutinefunction(run):
        return "its run returns a coroutine: it has to be an async generator, with `yield TextOutput(...)`"
    try:
        inspect.signature(run).bind(None, None)
    except TypeError:
        return "its run does not take a turn and a context"
    except ValueError:  # of a kind that has no signature: it will show
        return ""
    return ""


def _checked(output: object) -> Output:
    match output:
        case TextOutput(str(content)):
            return TextOutput(valid_text(content))
        case ReasoningOutput(str(content)):
            return ReasoningOutput(valid_text(content))
        case ToolStarted() | ToolCompleted():
            return output
    shown = type(output).__name__
    raise TypeError(
        f"the agent put out {shown}: an output is TextOutput(str), ReasoningOutput, ToolStarted, ToolCompleted"
    )
