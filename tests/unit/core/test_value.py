"""`@value` behaves as a frozen dataclass with slots wherever the house relies on one."""

from dataclasses import asdict, field, fields, is_dataclass, replace
from typing import ClassVar, Generic, TypeVar

import pytest

from gatewayd.core.event import Cursor
from gatewayd.core.value import record, value


@value(frozen=True, slots=True)
class Point:
    """Two numbers, a default made anew, and a field that does not count."""

    x: int
    y: int = 0
    tags: tuple[str, ...] = field(default_factory=tuple)
    cache: bytes = field(default=b"", repr=False, compare=False)


@value(frozen=True, slots=True)
class Other:
    x: int
    y: int = 0


@value(frozen=True, slots=True)
class Empty:
    pass


def test_values_of_one_class_are_equal_by_what_they_compare() -> None:
    assert Point(1, 2, cache=b"a") == Point(1, 2, cache=b"b")
    assert Point(1, 2) != Point(1, 3)
    assert Point(1, 2) != Other(1, 2)
    assert Empty() == Empty()
    assert len({Point(1, 2), Point(1, 2), Point(2, 1)}) == 2


def test_a_value_shows_its_fields_and_hides_what_it_should() -> None:
    assert repr(Point(1, tags=("a",), cache=b"secret")) == "Point(x=1, y=0, tags=('a',))"


def test_a_value_has_slots_and_the_tools_of_dataclasses_work() -> None:
    point = replace(Point(1), y=5)

    assert point == Point(1, 5)
    assert [one.name for one in fields(Point)] == ["x", "y", "tags", "cache"]
    with pytest.raises(AttributeError):
        point.z = 1  # type: ignore[attr-defined]
    match point:
        case Point(x, y):
            assert (x, y) == (1, 5)


def test_ordered_values_are_ordered() -> None:
    assert Cursor("a", 1) < Cursor("a", 2) < Cursor("b", 1)
    assert max(Cursor("a", 1), Cursor("a", 3)) == Cursor("a", 3)
    assert len({Cursor("a", 1), Cursor("a", 1)}) == 1


@value(frozen=True, slots=True)
class Span:
    """Checks itself."""

    low: int
    high: int = 9

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("it is empty")


@value(frozen=True, slots=True)
class Named(Span):
    """Takes what it derives from, too."""

    name: str = ""


@pytest.mark.parametrize("number", range(4))
def test_every_value_of_a_class_is_made_in_the_same_way(number: int) -> None:
    """The first ones are made by other means than those that follow."""

    @value(frozen=True, slots=True)
    class One:
        low: int
        high: int = 9
        tags: list[str] = field(default_factory=list)

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("it is empty")

    for each in range(number):
        assert One(each) == One(low=each, high=9, tags=[])
    made = One(1, tags=["a"])
    assert (made.low, made.high, made.tags, One(2).tags) == (1, 9, ["a"], [])
    with pytest.raises(ValueError, match="it is empty"):
        One(10)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "missing 1 required positional argument: 'low'"),
        ((1,), {"middle": 2}, "unexpected keyword argument 'middle'"),
        ((1,), {"low": 2}, "multiple values for argument 'low'"),
        ((1, 2, 3), {}, "takes from 2 to 3 positional arguments but 4 were given"),
    ],
)
def test_what_does_not_fit_is_said_whenever_it_comes(
    number: int, args: tuple[int, ...], kwargs: dict[str, int], said: str
) -> None:
    @value(frozen=True, slots=True)
    class One:
        low: int
        high: int = 9

    for each in range(number):
        assert One(each).low == each
    with pytest.raises(TypeError, match=said):
        One(*args, **kwargs)
    assert One(3) == One(3, 9)


def test_what_a_value_takes_is_what_its_fields_say() -> None:
    assert (Span(1).low, Span(1).high, Span(high=3, low=2).high) == (1, 9, 3)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'low'"):
        Span()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'middle'"):
        Span(1, middle=2)  # type: ignore[call-arg]


def test_a_value_may_check_itself_and_derive() -> None:
    with pytest.raises(ValueError, match="empty"):
        Span(10)
    with pytest.raises(ValueError, match="empty"):
        Named(10, 9, "x")
    assert Named(1, name="a") == Named(1, 9, "a") != Named(1, 9)


def test_a_default_is_made_anew_for_each() -> None:
    first, second = Point(1), Point(2, tags=("b",))
    assert (first.tags, second.tags) == ((), ("b",))


_T = TypeVar("_T")


@value(frozen=True, slots=True)
class Marked(Generic[_T]):
    """What belongs to the class is no field."""

    mark: _T
    KNOWN: ClassVar[int] = 3
    named: "ClassVar[str]" = "x"


@value(frozen=True, slots=True)
class Weighed(Named):
    """Takes what both have, and gives one of them another default."""

    high: int = 8
    weight: float = 0.0


def test_what_belongs_to_the_class_is_no_field() -> None:
    assert [one.name for one in fields(Marked)] == ["mark"]
    assert (Marked(1).KNOWN, Marked.named, repr(Marked("a"))) == (3, "x", "Marked(mark='a')")


def test_a_value_has_the_fields_of_all_that_it_derives_from() -> None:
    made = Weighed(2)

    assert [one.name for one in fields(made)] == ["low", "high", "name", "weight"]
    assert asdict(made) == {"low": 2, "high": 8, "name": "", "weight": 0.0}
    assert (Span(1).high, made.high) == (9, 8)
    assert fields(Span)[1].default == 9


@record(slots=True)
class Count:
    """One that changes."""

    name: str
    seen: list[str] = field(default_factory=list)
    told: bool = field(default=False, compare=False)


def test_a_record_changes_and_has_no_hash() -> None:
    one, other = Count("a"), Count("a")
    one.seen.append("x")
    one.told = True

    assert one != other
    other.seen = ["x"]
    assert one == other
    assert is_dataclass(one)
    assert repr(one) == "Count(name='a', seen=['x'], told=True)"
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
    with pytest.raises(AttributeError):
        one.more = 1  # type: ignore[attr-defined]
