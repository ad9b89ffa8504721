"""Tools made of typed async functions: the schema comes from the types, the descriptions from the docstring.

    async def forecast(city: str, days: int = 1, *, ctx: ToolContext) -> str:
        '''Tell the weather of the coming days.

        Args:
            city: Name of the city, in English.
            days: How many days, 1 to 7.
        '''

A parameter annotated `ToolContext` gets the context and is not part of the schema. Arguments are checked strictly:
unknown names, missing ones and wrong types reach the model as an error and never the function.
"""

import inspect
import re
import typing
from collections.abc import Mapping
from typing import Any

from gatewayd.agents.tools.base import ToolContext, ToolFailed, ToolFunction
from gatewayd.agents.tools.signature import REQUIRED, Parameter, accept, schema_of_all

_ARGUMENT = re.compile(r"\s+(\w+)(?:\s*\([^)]*\))?:\s*(.+)")
_SECTION = re.compile(r"\s*(Args|Arguments|Returns|Raises):\s*\Z")
_KEPT_DETAILS = 5


class FunctionTool:
    """A `Tool` that calls a function. Making one raises `TypeError` for a function that cannot be a tool."""

    def __init__(self, function: ToolFunction, name: str | None = None) -> None:
        self._function = function
        self._name = name or str(getattr(function, "__name__", "tool"))
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"tool {self._name}: {function!r} is not an async function")
        self._description, about = _read_docstring(inspect.getdoc(function) or "")
        self._context_name, self._accepted = _parameters(self._name, function, about)
        self._parameters = schema_of_all(self._accepted)

    @property
    def name(self) -> str:
        return self._name

    @property
    def description(self) -> str:
        return self._description

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self._parameters

    async def call(self, arguments: Mapping[str, Any], ctx: ToolContext) -> str:
        problems: list[str] = []
        # Only what was given: the function's own defaults hold for the rest.
        given = accept(self._accepted, arguments, problems)
        if problems:
            raise ToolFailed("wrong arguments: " + "; ".join(problems[:_KEPT_DETAILS]))
        if self._context_name is not None:
            given[self._context_name] = ctx
        result: object = await self._function(**given)
        return result if isinstance(result, str) else str(result)


def _parameters(tool: str, function: ToolFunction, about: Mapping[str, str]) -> tuple[str | None, dict[str, Parameter]]:
    """The name of the context parameter, and all others."""
    hints = typing.get_type_hints(function, include_extras=True)
    context: str | None = None
    found: dict[str, Parameter] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"tool {tool}: parameter {name} cannot be given by name")
        if name not in hints:
            raise TypeError(f"tool {tool}: parameter {name} has no type")
        if hints[name] is ToolContext:
            context = name
            continue
        default = REQUIRED if parameter.default is parameter.empty else parameter.default
        found[name] = Parameter(hints[name], default, about.get(name, ""))
        try:
            found[name].schema()
        except TypeError as error:
            raise TypeError(f"tool {tool}: parameter {name}: {error}") from None
    return context, found


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """What the function does, and what each argument means."""
    what: list[str] = []
    about: dict[str, str] = {}
    section, last = "", ""
    for line in text.splitlines():
        if heading := _SECTION.match(line):
            section, last = heading[1], ""
        elif not section:
            what.append(line)
        elif section.startswith("Arg"):
            if entry := _ARGUMENT.match(line):
                last, about[entry[1]] = entry[1], entry[2].strip()
            elif last and line.strip():
                about[last] += " " + line.strip()
    return "\n".join(what).strip(), about
