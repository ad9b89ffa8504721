"""The contract of a tool: something an agent may call.

A tool is a typed async function with a docstring; its schema is derived from both. It gets its arguments checked
against that schema, returns text for the model, and raises `ToolFailed` with a sentence for the model. Tools get time,
output and count limits from their caller and need none of their own.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from gatewayd.core.clock import Clock
from gatewayd.core.value import value

__all__ = [
    "Tool",
    "ToolContext",
    "ToolFailed",
    "ToolFunction",
]


class ToolFailed(Exception):
    """The call did not work; the model reads the text and may try otherwise."""


@value(frozen=True, slots=True)
class ToolContext:
    """What a tool may use."""

    clock: Clock
    execution_id: str
    principal: str
    idempotency_key: str
    """The same for every try of the same call of the same execution."""


class Tool(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """JSON schema of the arguments object."""
        ...

    async def call(self, arguments: Mapping[str, Any], ctx: ToolContext) -> str:
        """Run it. Raises `ToolFailed`, also for arguments off the schema."""
        ...


ToolFunction = Callable[..., Awaitable[str]]
