"""Nodes that are a function: `module:function`, an async function of one `NodeCall`.

    async def score(call: NodeCall) -> object:
        return {"points": len(call.output)}

What it returns is the node's output: text as it is, anything else as JSON. `AgentFailed` says why there is none.
"""

import importlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gatewayd.core.clock import Clock
from gatewayd.core.value import value
from gatewayd.plugins import PluginError

__all__ = ["NodeCall", "NodeFunction", "find_function"]


@value(frozen=True, slots=True)
class NodeCall:
    """What a function of a node is given."""

    task: str
    """What the execution was started with."""
    output: str
    """The output of the node before; at the entry node the task."""
    arguments: Mapping[str, Any]
    """The node's `arguments`, filled in; without them the output of the node before, if that is a JSON object."""
    memory: Mapping[str, str]
    """The last output of each node that has one."""
    node_id: str
    execution_id: str
    principal: str
    clock: Clock
    idempotency_key: str
    """The same for every try of this visit to the node, also after a crash."""


NodeFunction = Callable[[NodeCall], Awaitable[object]]


def find_function(reference: str) -> NodeFunction:
    """The function; `PluginError` says why there is none."""
    module, colon, path = reference.partition(":")
    if not colon or not module or not path:
        raise PluginError(f"{reference} names no function: write module:function")
    try:
        found: Any = importlib.import_module(module)
        for step in path.split("."):
            found = getattr(found, step)
    except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
        raise PluginError(f"{reference} cannot be imported: {type(error).__name__}: {error}") from error
    if not inspect.iscoroutinefunction(found):
        raise PluginError(f"{reference} is no async function: write `async def`")
    try:
        inspect.signature(found).bind(None)
    except TypeError:
        raise PluginError(f"{reference} does not take one NodeCall") from None
    function: NodeFunction = found
    return function
