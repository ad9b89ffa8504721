"""The daemon's part of GetStatus, read without the protobuf runtime.

Importing that runtime takes a quarter of the time of a cold `gatewayctl status --daemon-only`, which asks for eight
fields. The table below names them as status.proto does; a test compares it with the generated module, field by field
and on messages made at random, so it cannot fall behind.
"""

from __future__ import annotations

import struct
from typing import Any

Table = dict[int, tuple[str, Any]]
"""Field number to name and kind: a type, the names of an enum by number, or the table of a message."""

DAEMON_STATES = ("", "starting", "serving", "draining", "degraded")
RELOAD_OUTCOME: Table = {1: ("time", float), 2: ("ok", bool), 3: ("error", str)}
GET_STATUS: Table = {
    1: ("pid", int),
    2: ("version", str),
    3: ("state", DAEMON_STATES),
    4: ("start_time", float),
    5: ("uptime", float),
    6: ("config_digest", str),
    7: ("last_reload", RELOAD_OUTCOME),
    14: ("config_path", str),
}
DAEMON_ONLY = b"\x08\x01"
"""GetStatusRequest with `daemon_only`."""

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


def read(data: bytes, table: Table = GET_STATUS) -> dict[str, Any]:
    """The fields of the table as plain values; others are passed over. ValueError if it is no such message."""
    values: dict[str, Any] = {name: _absent(kind) for name, kind in table.values()}
    at = 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            number, wire = tag >> 3, tag & 7
            raw: Any
            if wire == _VARINT:
                raw, at = _varint(data, at)
            elif wire == _EIGHT:
                raw, at = struct.unpack_from("<d", data, at)[0], at + 8
            elif wire == _BYTES:
                size, at = _varint(data, at)
                raw, at = data[at : at + size], at + size
            elif wire == _FOUR:
                raw, at = data[at : at + 4], at + 4
            else:
                raise ValueError(f"wire type {wire}")
            if at > len(data):
                raise IndexError("a field")
            if number in table:
                name, kind = table[number]
                values[name] = _value(kind, raw)
    except (IndexError, struct.error) as error:
        raise ValueError(f"a message that ends too early: {error}") from None
    return values


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a varint that does not end")


def _absent(kind: Any) -> Any:
    if isinstance(kind, dict):
        return None
    return "" if isinstance(kind, tuple) else kind()


def _value(kind: Any, raw: Any) -> Any:
    if isinstance(kind, dict):
        return read(raw, kind)
    if isinstance(kind, tuple):
        return kind[raw] if raw < len(kind) else str(raw)
    if kind is str:
        return raw.decode()
    return kind(raw)
