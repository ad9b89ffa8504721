"""Tools: what the model sees of them, and what holds around every call."""

import asyncio
import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.agents.tools.base import ToolContext, ToolFailed
from gatewayd.agents.tools.builtin import current_time
from gatewayd.agents.tools.functions import FunctionTool
from gatewayd.agents.tools.registry import ToolRegistry
from gatewayd.agents.tools.toolbox import MAX_ARGUMENTS, MAX_RESULT, TIME_LIMIT, Caller, Toolbox, ToolResult
from gatewayd.plugins import load_group
from gatewayd.providers.base import ToolCall
from gatewayd.testing.fakes import FakeClock


async def book(
    city: str,
    nights: int = 1,
    kind: Literal["room", "flat"] = "room",
    guests: list[str] | None = None,
    model_schema: float = 1.0,
    *,
    ctx: ToolContext,
) -> str:
    """Book a place to stay.

    Nothing is paid before arrival.

    Args:
        city: Name of the city,
            in English.
        nights (int): How many nights, 1 to 30.

    Returns:
        What was booked.
    """
    return f"{kind} in {city} for {nights}, {guests}, {model_schema}, {ctx.principal}"


def context(clock: FakeClock | None = None) -> ToolContext:
    return ToolContext(clock or FakeClock(), "execution", "anna", "key")


def test_the_schema_comes_from_types_and_docstring() -> None:
    tool = FunctionTool(book)
    assert tool.name == "book"
    assert tool.description == "Book a place to stay.\n\nNothing is paid before arrival."
    schema = dict(tool.parameters)
    assert schema["required"] == ["city"]
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {"city", "nights", "kind", "guests", "model_schema"}
    assert schema["properties"]["city"] == {"type": "string", "description": "Name of the city, in English."}
    assert schema["properties"]["kind"]["enum"] == ["room", "flat"]
    assert schema["properties"]["nights"]["default"] == 1


async def test_arguments_reach_the_function_and_its_defaults_hold() -> None:
    assert (
        await FunctionTool(book).call({"city": "Rome", "nights": 2}, context()) == "room in Rome for 2, None, 1.0, anna"
    )
    assert "['bo']" in await FunctionTool(book).call({"city": "x", "guests": ["bo"], "model_schema": 2}, context())


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"city": 1},
        {"city": "x", "nights": "2"},
        {"city": "x", "kind": "tent"},
        {"city": "x", "ctx": 1},
        {"city": "x", "night": 1},
        {"city": "x", "nights": True},
    ],
)
async def test_arguments_off_the_schema_never_reach_the_function(arguments: dict[str, Any]) -> None:
    with pytest.raises(ToolFailed, match="wrong arguments: "):
        await FunctionTool(book).call(arguments, context())


def test_a_function_that_cannot_be_a_tool_is_refused_when_it_is_made() -> None:
    def sync(a: int) -> str:
        return ""

    async def untyped(a) -> str:  # type: ignore[no-untyped-def]
        return ""

    async def rest(*a: int) -> str:
        return ""

    for function in (sync, untyped, rest):
        with pytest.raises(TypeError, match=function.__name__):
            FunctionTool(function)  # type: ignore[arg-type]


async def sort_out(
    pair: tuple[int, str],
    many: tuple[str, ...] = (),
    prices: dict[str, float] | None = None,
    key: int | str = 0,
    size: Annotated[float, "How large, in metres."] = 1.0,
    anything: Any = None,
    sure: bool = False,
) -> str:
    """Sort out."""
    return f"{pair} {many} {prices} {key} {size} {anything} {sure}"


def test_every_kind_of_parameter_has_its_schema() -> None:
    properties = FunctionTool(sort_out).parameters["properties"]
    number, text, whole = {"type": "number"}, {"type": "string"}, {"type": "integer"}
    assert properties == {
        "pair": {"type": "array", "prefixItems": [whole, text], "minItems": 2, "maxItems": 2},
        "many": {"type": "array", "items": text, "default": ()},
        "prices": {"anyOf": [{"type": "object", "additionalProperties": number}, {"type": "null"}], "default": None},
        "key": {"anyOf": [whole, text], "default": 0},
        "size": {"type": "number", "default": 1.0, "description": "How large, in metres."},
        "anything": {"default": None},
        "sure": {"type": "boolean", "default": False},
    }


async def test_every_kind_of_argument_arrives_as_its_type_wants_it() -> None:
    given = {
        "pair": [1, "a"],
        "many": ["b"],
        "prices": {"c": 2},
        "key": "d",
        "size": 3,
        "anything": [None],
        "sure": True,
    }
    assert await FunctionTool(sort_out).call(given, context()) == "(1, 'a') ('b',) {'c': 2.0} d 3.0 [None] True"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"pair": [1]}, "pair: should be a list of 2"),
        ({"pair": ["a", 1]}, "pair.0: should be a whole number; pair.1: should be text"),
        ({"many": "abc"}, "many: should be a list"),
        ({"many": ["a", None]}, "many.1: should be text"),
        ({"prices": {"a": "1"}}, "prices.a: should be a number"),
        ({"prices": []}, "prices: should be an object"),
        ({"key": 1.5}, "key: should be a whole number or key: should be text"),
        ({"size": float("nan")}, "size: should be a number"),
        ({"size": 10**400}, "size: should be a number"),
        ({"size": True}, "size: should be a number"),
        ({"sure": 1}, "sure: should be true or false"),
        ({"pears": 1}, "pears: there is no such argument; there are pair, many, prices, key, size, anything, sure"),
    ],
    ids=str,
)
async def test_the_model_is_told_what_is_wrong_and_where(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ToolFailed) as failed:
        await FunctionTool(sort_out).call({"pair": [1, "a"]} | wrong, context())
    assert str(failed.value) == f"wrong arguments: {told}"


@pytest.mark.parametrize("kind", [object, set[int], dict[int, str], Literal[b"x"], list[bytes], Annotated[bytes, "x"]])
def test_a_type_that_no_model_can_be_told_of_is_refused_when_the_tool_is_made(kind: Any) -> None:
    async def strange(what: Any) -> str:
        return str(what)

    strange.__annotations__["what"] = kind
    with pytest.raises(TypeError, match="tool strange: parameter what: "):
        FunctionTool(strange)


async def test_the_time_is_told_in_any_zone_by_the_clock_it_is_given() -> None:
    tool = FunctionTool(current_time)
    assert await tool.call({}, context()) == "Friday 2027-01-15T08:00:00+00:00 (UTC)"
    assert await tool.call({"timezone": "Asia/Tokyo"}, context()) == "Friday 2027-01-15T17:00:00+09:00 (Asia/Tokyo)"


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", "", "America", "x\0y", "é" * 300])
async def test_a_zone_that_does_not_exist_is_a_sentence_for_the_model(zone: str) -> None:
    with pytest.raises(ToolFailed, match="no time zone"):
        await current_time(context(), zone)


def test_the_registry_imports_when_asked_and_once() -> None:
    asked = []
    registry = ToolRegistry({"book": lambda: asked.append(1) or book, "whole": lambda: FunctionTool(book, "whole")})
    assert registry.names() == ["book", "whole"]
    assert asked == []
    assert registry.get("book") is registry.get("book")
    assert asked == [1]
    assert registry.get("whole").name == "whole"
    with pytest.raises(KeyError):
        registry.get("other")


def test_the_built_in_tools_are_entry_points() -> None:
    assert ToolRegistry(load_group("gatewayd.tools")).get("current_time").name == "current_time"


class Rig:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.given: list[str] = []

        async def say(text: Annotated[str, "said"], ctx: ToolContext) -> str:
            """Say it."""
            self.given.append(text)
            if text == "wait":
                await ctx.clock.sleep(1000)
            if text == "crash":
                raise ZeroDivisionError("secret inside")
            if text == "long":
                return "é" * MAX_RESULT
            return text

        self.box = Toolbox("a", [FunctionTool(say)])

    async def run(self, name: str = "say", arguments: str = '{"text": "hi"}') -> ToolResult:
        call = ToolCall("1", name, arguments)
        return await self.clock.run(self.box.run(call, Caller(self.clock, "execution", "anna")))


async def test_a_call_gives_its_result() -> None:
    assert await Rig().run() == ToolResult("hi")


async def test_a_tool_that_was_not_granted_is_refused_and_counted() -> None:
    rig = Rig()
    result = await rig.run("http_get")
    assert result.is_error
    assert rig.box.stats() == {"calls": 1, "refused": 1, "failed": 0}


@pytest.mark.parametrize(
    "arguments",
    [
        '{"text": "a',
        "[]",
        '"x"',
        "null",
        "NaN",
        '{"text": NaN}',
        "[" * 100_000,
        '{"text": "\\ud800"}',
        '{"a":' * 40 + "1" + "}" * 40,
        '{"text": "' + "x" * MAX_ARGUMENTS + '"}',
    ],
    ids=range(10),
)
async def test_arguments_that_are_no_json_object_within_bounds_never_reach_a_tool(arguments: str) -> None:
    rig = Rig()
    assert (await rig.run(arguments=arguments)).is_error
    assert rig.given == []
    assert rig.box.stats()["refused"] == 1


@given(st.text(max_size=200))
def test_any_text_for_arguments_ends_in_a_result(arguments: str) -> None:
    clock = FakeClock()
    box = Toolbox("a", [FunctionTool(current_time)])
    result = asyncio.run(box.run(ToolCall("1", "current_time", arguments), Caller(clock, "e", "p")))
    assert isinstance(result, ToolResult)


async def test_a_call_ends_at_its_time_limit() -> None:
    rig = Rig()
    result = await rig.run(arguments='{"text": "wait"}')
    assert result == ToolResult("Error: the tool did not finish in time", is_error=True)
    assert rig.clock.monotonic() == TIME_LIMIT
    assert rig.clock.waiting == 0


async def test_a_long_result_is_cut_with_a_mark() -> None:
    text = (await Rig().run(arguments='{"text": "long"}')).text
    assert text.endswith(f"[cut: {MAX_RESULT} more bytes]")
    assert len(text.encode()) < MAX_RESULT + 100


async def test_a_broken_tool_harms_only_its_call(caplog: pytest.LogCaptureFixture) -> None:
    result = await Rig().run(arguments='{"text": "crash"}')
    assert result.is_error
    assert "secret" not in result.text
    assert [record.message for record in caplog.records] == ["tool_crashed"]


async def test_no_arguments_at_all_are_an_empty_object() -> None:
    box = Toolbox("a", [FunctionTool(current_time)])
    result = await box.run(ToolCall("1", "current_time", ""), Caller(FakeClock(), "e", "p"))
    assert not result.is_error


def test_the_schemas_are_json() -> None:
    json.dumps([dict(schema.parameters) for schema in Toolbox("a", [FunctionTool(book)]).schemas()])
