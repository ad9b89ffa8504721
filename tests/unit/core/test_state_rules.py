"""What a key, a value and a transaction of the shared state may be, and where an execution looks."""

import math
from typing import Any

import pytest

from gatewayd.core.errors import InvalidArgument, LimitExceeded
from gatewayd.core.state import (
    EVERYWHERE,
    MAX_DEPTH,
    MAX_VALUES,
    MAX_WRITES,
    Isolation,
    Place,
    StateEntry,
    StateLimits,
    StateScope,
    check_distinct,
    check_key,
    check_ttl,
    read_order,
    text_of,
)

LIMITS = StateLimits()


def nested(levels: int) -> Any:
    held: Any = 1
    for _ in range(levels):
        held = [held]
    return held


def test_an_isolated_execution_looks_in_its_own_state_alone() -> None:
    own, stream = Place(StateScope.EXECUTION, "x1"), Place(StateScope.STREAM, "helper")
    assert read_order(Isolation.ISOLATED, "x1", "helper") == (own,)
    for isolation in (Isolation.SHARED, Isolation.SYNCHRONIZED):
        assert read_order(isolation, "x1", "helper") == (own, stream, EVERYWHERE)


@pytest.mark.parametrize("key", ["a", "orders.eu.count", "a-b_c:d", "ключ", "k" * 256])
def test_a_key_is_words_joined_by_dots(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    "key", ["", ".", "a..b", "a b", "*", "a.>", "a\n", "a\u202eb", "a\x9bb", "k" * 257, "ключ" * 33, "\ud800"]
)
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_key(key)
    assert refused.value.violations[0].field == "key"


@pytest.mark.parametrize(
    "held", [None, True, 0, -1.5, "text", [], {}, {"a": [1, {"b": None}]}, (1, 2), nested(MAX_DEPTH)]
)
def test_a_value_is_json(held: Any) -> None:
    entry = StateEntry(EVERYWHERE, "k", text_of(held, LIMITS), 1)
    assert entry.value == (list(held) if isinstance(held, tuple) else held)


@pytest.mark.parametrize(
    "held",
    [
        math.nan,
        math.inf,
        10**400,
        b"bytes",
        {1: 2},
        {"a": {"b": {1, 2}}},
        "\ud800",
        {"\ud800": 1},
        nested(MAX_DEPTH + 1),
        nested(5000),
        [0] * MAX_VALUES,
    ],
    ids=lambda held: type(held).__name__,
)
def test_what_json_cannot_say_or_a_reader_not_read_is_no_value(held: Any) -> None:
    with pytest.raises(InvalidArgument):
        text_of(held, LIMITS)


def test_a_value_has_a_size() -> None:
    assert text_of("é" * 5, StateLimits(value_bytes=12)) == '"ééééé"'
    with pytest.raises(LimitExceeded) as refused:
        text_of("é" * 5, StateLimits(value_bytes=11))
    assert refused.value.metadata == {"limit": "state_value_bytes"}


def test_a_transaction_writes_each_key_once() -> None:
    other = Place(StateScope.STREAM, "s")
    check_distinct([(EVERYWHERE, "a"), (EVERYWHERE, "b"), (other, "a")])
    many = [(EVERYWHERE, f"k{n}") for n in range(MAX_WRITES + 1)]
    check_distinct(many[1:])
    for wrong in ([], many, [(other, "a"), (EVERYWHERE, "b"), (other, "a")]):
        with pytest.raises(InvalidArgument):
            check_distinct(wrong)


@pytest.mark.parametrize("ttl", [0.0, -1.0, 1e12, math.nan])
def test_a_time_to_live_is_above_zero(ttl: float) -> None:
    assert check_ttl(0.001) == 0.001
    with pytest.raises(InvalidArgument):
        check_ttl(ttl)


def test_a_key_is_there_until_it_expires() -> None:
    entry = StateEntry(EVERYWHERE, "k", "1", 7, expires=100.0)
    assert entry.is_there(99.9)
    assert not entry.is_there(100.0)
    assert StateEntry(EVERYWHERE, "k", "1", 7).is_there(1e12)
    assert not StateEntry(EVERYWHERE, "k", "", 7).is_there(0.0)
