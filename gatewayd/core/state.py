"""Shared state: named JSON values that executions and clients have in common, and the rules that hold for them.

A key lives in a *place*: one execution, one stream (the executions of one agent), or the whole gateway. A reader that
names no place looks in its execution, then in its stream, then in the gateway. The version of a key is the place of
its last change in the event log: it only grows, also over a deletion, so a version that was seen once never comes
again for another value. 0 is the version of what is not there.
"""

import json
import math
from collections.abc import Iterable
from enum import StrEnum
from itertools import count
from typing import Any

from gatewayd.core.errors import InvalidArgument, LimitExceeded, Violation
from gatewayd.core.topic import check_topic
from gatewayd.core.value import value

MAX_KEY_BYTES = 256
MAX_DEPTH = 32
"""Deepest nesting of a value, the outermost counted as one; what the contract allows for JSON everywhere."""
MAX_VALUES = 10_000
"""Most values within one value, it included."""
MAX_WRITES = 100
"""Most keys of one transaction."""
MAX_TTL = 100 * 365 * 86_400.0
"""Seconds."""


class StateScope(StrEnum):
    """Who shares a key."""

    EXECUTION = "execution"
    """One execution; it goes when the execution is no longer kept."""
    STREAM = "stream"
    """All executions of one stream."""
    GLOBAL = "global"
    """Everything in this gateway."""


class Isolation(StrEnum):
    """How an execution takes part in what is shared."""

    ISOLATED = "isolated"
    """It sees and writes its own execution's keys alone."""
    SHARED = "shared"
    """It sees all three scopes; the last writer wins unless it names a version."""
    SYNCHRONIZED = "synchronized"
    """As `SHARED`, and every write to what others share names the version that the writer has seen."""


@value(frozen=True, slots=True)
class Place:
    """Where a key lives."""

    scope: StateScope
    id: str = ""
    """The execution or the stream; '' for `GLOBAL`."""

    def __str__(self) -> str:
        return f"{self.scope} {self.id}".rstrip()


EVERYWHERE = Place(StateScope.GLOBAL)
"""The place that the whole gateway shares."""


@value(frozen=True, slots=True)
class StateEntry:
    """A key and what it holds."""

    place: Place
    key: str
    text: str
    """The value as JSON; '' for a key that is not there (any more)."""
    version: int
    writer: str = ""
    """The principal that wrote it last."""
    updated: float = 0.0
    """Unix seconds."""
    expires: float = 0.0
    """Unix seconds; 0 is never."""

    @property
    def value(self) -> Any:
        """The value; None for a key that is not there, and for null."""
        return json.loads(self.text) if self.text else None

    def is_there(self, now: float) -> bool:
        """Whether it holds a value at that time."""
        return bool(self.text) and not (self.expires and self.expires <= now)


@value(frozen=True, slots=True)
class StateLimits:
    """What may be kept."""

    value_bytes: int = 64 * 1024
    """Of one value as JSON in UTF-8."""
    keys: int = 10_000
    """In one place."""
    total_bytes: int = 64 << 20
    """Of all keys and values with what a row costs beside them."""


def read_order(isolation: Isolation, execution_id: str, stream_id: str) -> tuple[Place, ...]:
    """Where an execution looks for a key, first to last."""
    own = Place(StateScope.EXECUTION, execution_id)
    if isolation is Isolation.ISOLATED:
        return (own,)
    return (own, Place(StateScope.STREAM, stream_id), EVERYWHERE)


def check_key(key: str) -> str:
    """Return the key, or raise `InvalidArgument`: printable words joined by single dots, as in a topic."""
    try:
        if len(key.encode()) > MAX_KEY_BYTES:
            raise InvalidArgument(f"it is longer than {MAX_KEY_BYTES} bytes")
        if not key.isprintable():
            raise InvalidArgument("it holds characters that are not printable")
        return check_topic(key)
    except UnicodeEncodeError:
        raise _wrong("key", "it holds half a character") from None
    except InvalidArgument as error:
        raise _wrong("key", error.message) from None


def check_ttl(seconds: float) -> float:
    """Return it, or raise `InvalidArgument` unless it is above 0 and at most 100 years."""
    if not 0 < seconds <= MAX_TTL:
        raise _wrong("ttl", f"{seconds} is no time to live; it is above 0 and at most 100 years")
    return seconds


def text_of(held: Any, limits: StateLimits) -> str:
    """The value as JSON. `InvalidArgument` for what JSON cannot say, `LimitExceeded` for what is too large."""
    _check(held, 1, count())
    text = json.dumps(held, ensure_ascii=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _wrong("value", "a string holds half a character") from None
    if size > limits.value_bytes:
        raise LimitExceeded(
            f"the value is {size} bytes of JSON; at most {limits.value_bytes} are kept under one key",
            metadata={"limit": "state_value_bytes"},
        )
    return text


def check_distinct(keys: Iterable[tuple[Place, str]]) -> None:
    """Raise `InvalidArgument` unless a transaction writes from 1 to `MAX_WRITES` keys, each once."""
    seen: set[tuple[Place, str]] = set()
    for place, key in keys:
        if (place, key) in seen:
            raise _wrong("writes", f"{key!r} is written twice in {place}")
        seen.add((place, key))
    if not 1 <= len(seen) <= MAX_WRITES:
        raise _wrong("writes", f"{len(seen)} keys; from 1 to {MAX_WRITES} are written at once")


def _check(held: Any, depth: int, seen: "count[int]") -> None:
    if next(seen) >= MAX_VALUES:
        raise _wrong("value", f"it holds more than {MAX_VALUES} values")
    if held is None or isinstance(held, bool | str):
        return
    if isinstance(held, int | float):
        _check_number(held)
        return
    children = _children(held)
    if depth > MAX_DEPTH:
        raise _wrong("value", f"it is nested deeper than {MAX_DEPTH}")
    for child in children:
        _check(child, depth + 1, seen)


def _children(held: Any) -> Iterable[Any]:
    if isinstance(held, dict):
        for key in held:
            if not isinstance(key, str):
                raise _wrong("value", f"a key of an object is {type(key).__name__}, not a string")
        return held.values()
    if isinstance(held, list | tuple):
        return held
    raise _wrong("value", f"{type(held).__name__} is not a JSON value")


def _check_number(number: float) -> None:
    try:
        finite = math.isfinite(float(number))
    except OverflowError:
        finite = False
    if not finite:
        raise _wrong("value", "JSON has no infinite numbers and no NaN")


def _wrong(field: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"{field}: {why}", violations=(Violation(field, why),))
