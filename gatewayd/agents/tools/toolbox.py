"""The one way to a tool: grant, arguments, time, size. Whoever runs a tool for an agent does it through a `Toolbox`.

The model decides what is called with what, and what it reads may have been written by anyone; so nothing that it asks
for is trusted. A refusal is a result that the model reads, never an exception.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NoReturn

from gatewayd.agents.tools.base import Tool, ToolContext, ToolFailed
from gatewayd.core.clock import Clock, TimeIsOver
from gatewayd.core.value import value
from gatewayd.providers.base import ToolCall, ToolSchema

TIME_LIMIT: Final = 30.0
"""Seconds that one call may take."""
MAX_RESULT: Final = 64 * 1024
"""Bytes of a result that the model gets to read; the rest is cut off, with a mark."""
MAX_ARGUMENTS: Final = 64 * 1024
"""Characters of JSON that a call's arguments may have."""
MAX_DEPTH: Final = 32
"""Levels of nesting that a call's arguments may have."""

_log = logging.getLogger(__name__)


@value(frozen=True, slots=True)
class ToolResult:
    """What the model reads of a call."""

    text: str
    is_error: bool = False


@value(frozen=True, slots=True)
class Caller:
    """For whom the tools of one turn are run."""

    clock: Clock
    execution_id: str
    principal: str
    scope: str = ""
    """See `Turn.call_scope`."""


class Toolbox:
    """The tools that one agent was granted."""

    def __init__(self, agent: str, tools: Iterable[Tool]) -> None:
        self._agent = agent
        self._tools = {tool.name: tool for tool in tools}
        self._schemas = tuple(ToolSchema(tool.name, tool.description, tool.parameters) for tool in self._tools.values())
        self._counts: Counter[str] = Counter(calls=0, refused=0, failed=0)

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._tools)

    def schemas(self) -> Sequence[ToolSchema]:
        """The tools as the model sees them."""
        return self._schemas

    def stats(self) -> dict[str, int]:
        """`calls` in all; of them `refused` by the rules here and `failed` in the tool."""
        return dict(self._counts)

    async def run(self, call: ToolCall, caller: Caller, occurrence: int = 0) -> ToolResult:
        """Run the call, or say why not. `occurrence` counts equal calls of one execution."""
        self._counts["calls"] += 1
        tool = self._tools.get(call.name)
        if tool is None:
            return self._refuse(call, f"you have no tool called {call.name[:64]!r}")
        try:
            arguments = read_arguments(call.arguments)
        except ValueError as error:
            return self._refuse(call, str(error))
        key = idempotency_key(caller.execution_id + caller.scope, call.name, arguments, occurrence)
        context = ToolContext(caller.clock, caller.execution_id, caller.principal, key)
        try:
            async with caller.clock.timeout(TIME_LIMIT):
                return ToolResult(_cut(await tool.call(arguments, context)))
        except ToolFailed as failure:
            return self._failed(call, _cut(str(failure)))
        except TimeIsOver:
            return self._failed(call, "the tool did not finish in time")
        except Exception:  # the boundary between a tool's defects and the turn
            _log.exception("tool_crashed", extra={"agent": self._agent, "tool": call.name})
            return self._failed(call, "the tool is broken; do without it")

    def _refuse(self, call: ToolCall, why: str) -> ToolResult:
        self._counts["refused"] += 1
        _log.warning("tool_refused", extra={"agent": self._agent, "tool": call.name[:64]})
        return ToolResult(f"Error: {why}", is_error=True)

    def _failed(self, call: ToolCall, why: str) -> ToolResult:
        self._counts["failed"] += 1
        _log.info("tool_failed", extra={"agent": self._agent, "tool": call.name})
        return ToolResult(f"Error: {why}", is_error=True)


def read_arguments(text: str) -> dict[str, Any]:
    """The arguments object of a call; `ValueError` with a sentence for the model. No text at all is no arguments."""
    if len(text) > MAX_ARGUMENTS:
        raise ValueError(f"the arguments are longer than {MAX_ARGUMENTS} characters")
    try:
        value = json.loads(text or "{}", parse_constant=_refuse_constant)
        # Half a surrogate pair ("\\ud800") is JSON, but no text that could be stored or sent.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise ValueError("the arguments are not valid JSON") from None
    if not isinstance(value, dict):
        raise ValueError("the arguments are not a JSON object")
    if _depth(value) > MAX_DEPTH:
        raise ValueError(f"the arguments are nested deeper than {MAX_DEPTH} levels")
    return value


def idempotency_key(execution_id: str, name: str, arguments: dict[str, Any], occurrence: int) -> str:
    """The same for the same call of the same execution, also when the execution is run again after a crash."""
    content = json.dumps([execution_id, name, arguments, occurrence], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _depth(value: object) -> int:
    """Levels of containers, without recursion: the text comes from outside."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def _cut(text: str) -> str:
    raw = text.encode(errors="replace")
    if len(raw) <= MAX_RESULT:
        return raw.decode()
    return raw[:MAX_RESULT].decode(errors="ignore") + f"\n[cut: {len(raw) - MAX_RESULT} more bytes]"
