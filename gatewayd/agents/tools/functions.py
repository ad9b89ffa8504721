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

import pydantic

from gatewayd.agents.tools.base import ToolContext, ToolFailed, ToolFunction

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
        self._context_name, self._model = _arguments_model(self._name, function, about)
        self._parameters = _schema(self._model)

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
        try:
            checked = self._model.model_validate(dict(arguments))
        except pydantic.ValidationError as error:
            raise ToolFailed(_explain(error)) from None
        # Only what was given: the function's own defaults hold for the rest.
        given = {
            field.alias or name: getattr(checked, name)
            for name, field in type(checked).model_fields.items()
            if name in checked.model_fields_set
        }
        if self._context_name is not None:
            given[self._context_name] = ctx
        result: object = await self._function(**given)
        return result if isinstance(result, str) else str(result)


def _arguments_model(
    tool: str, function: ToolFunction, about: Mapping[str, str]
) -> tuple[str | None, type[pydantic.BaseModel]]:
    """The name of the context parameter, and a model of all others."""
    hints = typing.get_type_hints(function, include_extras=True)
    context: str | None = None
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"tool {tool}: parameter {name} cannot be given by name")
        if name not in hints:
            raise TypeError(f"tool {tool}: parameter {name} has no type")
        if hints[name] is ToolContext:
            context = name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        # Under a name of its own: pydantic keeps some names (`schema`, `model_…`) for itself.
        fields[f"argument_{name}"] = (hints[name], pydantic.Field(default, alias=name, description=about.get(name)))
    config = pydantic.ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=False)
    return context, pydantic.create_model(f"{tool}_arguments", __config__=config, **fields)


def _schema(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    schema.pop("title", None)
    for described in schema.get("properties", {}).values():
        described.pop("title", None)
    return {"type": "object", "properties": {}, **schema}


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


def _explain(error: pydantic.ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    parts = [".".join(str(step) for step in detail["loc"]) + ": " + detail["msg"] for detail in details[:_KEPT_DETAILS]]
    return "wrong arguments: " + "; ".join(parts)
