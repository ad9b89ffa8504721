"""The kinds of value that a configuration key may have.

Each kind is a small callable: it takes what YAML gave and returns the value, or raises `refuse(...)`. It never
puts the value itself into the message, since a value may have come from a variable that holds a secret; the loader
adds it where that is safe.
"""

import re
import urllib.parse
from datetime import UTC, datetime
from typing import Annotated

from gatewayd.config.plain import Refused, flag, number, refuse
from gatewayd.core.value import value

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR = 365 * DAY

ID = re.compile(r"^[\w\-\.]+\Z")
"""Names of agents, channels and clients."""
MAX_ID = 64

_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": MINUTE, "h": HOUR, "d": DAY}
_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": KIB, "mib": MIB, "gib": GIB}
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def show_seconds(seconds: float) -> str:
    """A duration as one would write it: `90s`, `1h`, `250ms`."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and (seconds / _SECONDS[unit]).is_integer():
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds:g}s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:g}ms"


def show_bytes(size: int) -> str:
    """A size as one would write it: `4MiB`, `1000`."""
    for factor, unit in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


@value(frozen=True, slots=True)
class Whole:
    """A whole number in a range."""

    low: int
    high: int

    def __call__(self, value: object) -> int:
        amount = number(value)
        if amount is None or int(amount) != amount or not self.low <= amount <= self.high:
            raise refuse(f"a whole number from {self.low} to {self.high}")
        return int(amount)


@value(frozen=True, slots=True)
class Number:
    """A number in a range."""

    low: float
    high: float

    def __call__(self, value: object) -> float:
        amount = number(value)
        if amount is None or not self.low <= amount <= self.high:
            raise refuse(f"a number from {self.low:g} to {self.high:g}")
        return float(amount)


@value(frozen=True, slots=True)
class Duration:
    """Seconds, or text such as `500ms`, `30s`, `10m`, `24h`, `7d`."""

    low: float
    high: float

    def __call__(self, value: object) -> float:
        amount = number(value)
        if isinstance(value, str) and (match := _AMOUNT.match(value)) and match[2] in _SECONDS:
            amount = float(match[1]) * _SECONDS[match[2]]
        if amount is None or not self.low <= amount <= self.high:
            wanted = f"a duration from {show_seconds(self.low)} to {show_seconds(self.high)}"
            raise refuse(wanted, "seconds as a number, or 500ms, 30s, 10m, 24h, 7d")
        return float(amount)


@value(frozen=True, slots=True)
class Size:
    """Bytes, or text such as `64KiB`, `4MiB`, `1GB`."""

    low: int
    high: int

    def __call__(self, value: object) -> int:
        amount = number(value)
        if isinstance(value, str) and (match := _AMOUNT.match(value)) and match[2].lower() in _BYTES:
            amount = float(match[1]) * _BYTES[match[2].lower()]
        if amount is None or int(amount) != amount or not self.low <= amount <= self.high:
            wanted = f"a size from {show_bytes(self.low)} to {show_bytes(self.high)}"
            raise refuse(wanted, "bytes as a number, or 64KiB, 4MiB, 1GB")
        return int(amount)


@value(frozen=True, slots=True)
class Bound:
    """A bound that 0 takes away: 0 becomes None, anything else is read by `kind`."""

    kind: Whole | Duration | Size

    def __call__(self, value: object) -> float | None:
        if value is None or (value == 0 and not isinstance(value, bool)):
            return None
        return self.kind(value)


@value(frozen=True, slots=True)
class Length:
    """A list with a number of members in a range."""

    low: int
    high: int

    def __call__(self, value: object) -> object:
        if isinstance(value, list | tuple) and not self.low <= len(value) <= self.high:
            bound = f"at least {self.low}" if len(value) < self.low else f"at most {self.high}"
            raise Refused(sentence=f"a list of {len(value)}; {bound} wanted")
        return value


@value(frozen=True, slots=True)
class OneOf:
    """One of a few words."""

    words: tuple[str, ...]

    def __call__(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise refuse("one of " + ", ".join(self.words))
        return value


@value(frozen=True, slots=True)
class Text:
    """Text up to a length; `one_line` refuses line breaks, `low` emptiness."""

    high: int
    low: int = 0
    one_line: bool = False

    def __call__(self, value: object) -> str:
        if not isinstance(value, str):
            raise refuse("text", "put it in quotes" if isinstance(value, bool | int | float) else "")
        if not self.low <= len(value) <= self.high:
            raise refuse(
                f"text of {self.low} to {self.high} characters" if self.low else f"text of at most {self.high}"
            )
        if self.one_line and any(ord(character) < 32 or character == "\x7f" for character in value):
            raise refuse("text without line breaks and control characters")
        return value


def name(value: object) -> str:
    """An id of an agent, a channel or a client."""
    if not isinstance(value, str) or len(value) > MAX_ID or not ID.match(value):
        raise refuse(f"a name of at most {MAX_ID} letters, digits, '_', '-' and '.'")
    return value


def names(value: object) -> tuple[object, ...]:
    """A list; one text stands for a list of one."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise refuse("a list of names", "write [a, b], or one name per line after '- '")
    return tuple(value)


def base_url(value: object) -> str:
    """An http or https address without credentials in it."""
    text = Text(2048, 1, one_line=True)(value)
    try:
        parts = urllib.parse.urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in text
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise refuse("an http:// or https:// address", "for example http://127.0.0.1:11434/v1")
    if parts.username or parts.password:
        raise refuse("an address without a user name or password", "put the credential into api_key")
    return text


def socket_path(value: object) -> str:
    """An absolute path that fits into a socket address."""
    text = Text(4096, 1, one_line=True)(value)
    if not text.startswith("/") or len(text.encode()) > 107:
        raise refuse("an absolute path of at most 107 bytes", "the kernel takes no longer socket paths")
    return text


def database_url(value: object) -> str:
    """`sqlite:` (a file in the state directory) or `sqlite:///absolute/path`."""
    text = Text(4096, 1, one_line=True)(value)
    if text == "sqlite:" or (text.startswith("sqlite:////") is False and re.match(r"sqlite:///[^/?#]", text)):
        return text
    if text.startswith(("postgresql:", "postgres:")):
        raise refuse("a database of this version", "PostgreSQL is not in this version; leave the key out for SQLite")
    raise refuse("sqlite: or sqlite:///absolute/path", "leave the key out to keep gatewayd.db in the state directory")


def sha256_hex(value: object) -> str:
    """The SHA-256 of a token, as 64 hexadecimal digits."""
    text = value.lower() if isinstance(value, str) else ""
    if not _SHA256.match(text):
        raise refuse("a SHA-256 in 64 hexadecimal digits", "`gatewayctl token new` prints the line to put here")
    return text


def instant(value: object) -> datetime:
    """A date, or a date and time in ISO 8601; without an offset it is UTC."""
    try:
        moment = (
            value if isinstance(value, datetime) else datetime.fromisoformat(value if isinstance(value, str) else "")
        )
    except ValueError:
        raise refuse("a date such as 2027-01-31 or 2027-01-31T12:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Flag = Annotated[bool, flag]
Name = Annotated[str, name]
Line = Annotated[str, Text(256, 1, one_line=True)]
Prose = Annotated[str, Text(256 * KIB)]
Url = Annotated[str, base_url]
