"""Sections as values, and one value against one annotation."""

import copy
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

import pytest
from config_rig import lines

from gatewayd.config.checking import Unfit, Wrong, read
from gatewayd.config.fields import Length, Whole, names
from gatewayd.config.section import REQUIRED, Section, setting, settings_of
from gatewayd.core.secret import Secret


def odd(given: object) -> object:
    if given == 4:
        raise ValueError("four is even")
    return given


class Inner(Section):
    sender: str = setting(key="from")
    count: Annotated[int, Whole(0, 9)] = 1


class Outer(Section):
    KIND: ClassVar[str] = "outer"

    number: float = 0.5
    whole: "int" = 0
    word: Literal["a", "b"] = "a"
    grade: Literal[1, 2] = 1
    maybe: Annotated[int, odd] | None = None
    either: int | str = 0
    inner: Inner = Inner(sender="x")
    rows: list[Inner] = setting(default=[])
    table: dict[Annotated[str, Length(0, 9)], bool] = setting(default={}, description="By name.")
    some: Annotated[tuple[str, ...], names, Length(1, 2)] = ("x",)
    token: Secret | None = None
    moment: datetime | None = None
    anything: Any = None


class Further(Outer):
    word: Literal["a", "b"] = "b"
    more: bool = False


def wrong(data: dict[str, Any], section: type[Section] = Outer) -> list[Wrong]:
    with pytest.raises(Unfit) as unfit:
        read(section, data)
    return list(unfit.value.wrongs)


def test_a_section_is_a_value() -> None:
    outer = Outer(word="b")
    assert outer == Outer(word="b") != Outer()
    assert outer != Further(word="b")
    assert hash(Inner(sender="x")) == hash(Inner(sender="x"))
    assert repr(Inner(sender="x")) == "Inner(sender='x', count=1)"
    assert copy.deepcopy(outer) == outer
    with pytest.raises(AttributeError, match="frozen"):
        outer.word = "a"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="frozen"):
        del outer.word


def test_making_one_by_hand_checks_the_names() -> None:
    with pytest.raises(TypeError, match="Inner needs sender"):
        Inner()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Inner has no from"):
        Inner(sender="x", **{"from": "y"})  # type: ignore[arg-type]


def test_two_sections_share_no_default() -> None:
    assert Outer().rows is not Outer().rows
    assert Outer().table is not Outer().table


def test_what_is_declared_is_inherited_and_overridden_in_place() -> None:
    assert list(settings_of(Further)) == [*settings_of(Outer), "more"]
    assert settings_of(Further())["word"].default == "b"
    assert settings_of(Outer)["whole"].annotation is int
    assert settings_of(Outer)["table"].description == "By name."
    assert settings_of(Inner)["sender"].default is REQUIRED
    assert settings_of(Inner)["sender"].key == "from"


def test_what_is_right_is_read() -> None:
    moment = datetime(2027, 1, 1, tzinfo=UTC)
    data = {
        "number": 3,
        "whole": 2.0,
        "maybe": None,
        "either": "x",
        "inner": {"from": "y"},
        "rows": [{"from": "z", "count": 2}],
        "table": {"k": True},
        "some": "one",
        "token": Secret("t"),
        "moment": moment,
        "anything": [1],
    }
    found = read(Outer, data)
    assert found == Outer(
        number=3.0,
        whole=2,
        either="x",
        inner=Inner(sender="y"),
        rows=[Inner(sender="z", count=2)],
        table={"k": True},
        some=("one",),
        token=Secret("t"),
        moment=moment,
        anything=[1],
    )
    assert (type(found.number), type(found.whole)) == (float, int)
    assert read(Outer, {"inner": found.inner}).inner is found.inner


@pytest.mark.parametrize(
    ("key", "given", "path", "told"),
    [
        ("number", True, (), "is not a number"),
        ("number", float("nan"), (), "is not a number"),
        ("number", "1", (), "is not a number"),
        ("whole", 1.5, (), "is not a whole number"),
        ("word", "c", (), "is not one of a, b"),
        ("grade", True, (), "is not one of 1, 2"),
        ("maybe", 4, (), "four is even"),
        ("maybe", "x", (), "is not a whole number"),
        ("either", None, (), "is not text"),
        ("inner", [], (), "is not a mapping (`key: value` lines)"),
        ("inner", {}, ("from",), "this key is required and missing"),
        ("inner", {"from": "x", "to": "y"}, ("to",), "unknown key"),
        ("rows", {}, (), "is not a list"),
        ("rows", [{"from": "x", "count": 10}], (0, "count"), "is not a whole number from 0 to 9"),
        ("table", {"k": 1}, ("k",), "is not true or false"),
        ("some", [], (), "a list of 0; at least 1 wanted"),
        ("some", ["a", "b", "c"], (), "a list of 3; at most 2 wanted"),
        ("some", ["a", 1], (1,), "is not text"),
        ("token", "t", (), "the secret is not text"),
        ("moment", "2027-01-01", (), "is not a datetime"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_with_its_path(key: str, given: Any, path: tuple[Any, ...], told: str) -> None:
    (found,) = wrong({key: given})
    assert found.path == (key, *path)
    assert str(found.refused) == told


def test_everything_is_told_at_once() -> None:
    found = wrong({"number": "x", "rows": [{"count": "y"}, 3], "nothing": 1})
    assert [each.path for each in found] == [
        ("number",),
        ("rows", 0, "from"),
        ("rows", 0, "count"),
        ("rows", 1),
        ("nothing",),
    ]
    assert [each.of_key for each in found] == [False, True, False, False, True]


def test_an_adapter_whose_settings_are_no_section_is_told_of() -> None:
    text = "agents: {a: {model: m}}\nchannels: {odd: {routing: {default: a}}}"
    (line,) = lines(text, settings_for={"odd": dict}.get)
    assert line.endswith(
        "channels.odd.platform: the adapter of odd is broken: its Settings are not derived from Section"
    )
