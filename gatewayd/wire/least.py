"""How large values in JSON are at least as protobuf, told without making anything of them.

A number of two characters takes eleven bytes in a `google.protobuf.Struct`, and the reader of JSON, which is Python,
some microseconds: a message within its bound could be five times as large once read, and take ten seconds.
"""

from typing import Any

_NUMBER = 11
"""Bytes of a number in a list: two tags, a length and a double."""
_OTHER = 4
"""The same of anything else that is as short as can be."""


def least_bytes(found: Any, enough: int) -> int:
    """Bytes that the values in there take at least, names and texts not counted; no more is counted than `enough`."""
    counted, layer = 0, [found]
    while layer and counted <= enough:
        inner: list[Any] = []
        for one in layer:
            values = one.values() if isinstance(one, dict) else one
            kinds = list(map(type, values))
            numbers = kinds.count(int) + kinds.count(float)
            counted += numbers * _NUMBER + (len(kinds) - numbers) * _OTHER
            if counted > enough:
                break
            if dict in kinds or list in kinds:
                inner += [value for value in values if isinstance(value, dict | list)]
        layer = inner
    return counted
