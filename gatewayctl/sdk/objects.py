"""JSON objects on their way into a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.struct_pb2 import Struct

from gatewayctl.sdk.errors import InvalidArgument

MAX_DEPTH = 32
"""Objects and lists within each other, as the daemon takes them; not far beyond it protobuf does not write them."""
TOO_DEEP = f"nested deeper than {MAX_DEPTH} objects and lists; make it flatter, or send the inner part as a text"


def is_too_deep(value: Any) -> bool:
    """Whether the daemon would refuse it for its depth, if protobuf copied it at all."""
    layer = [value] if _is_nested(value) else []
    for _ in range(MAX_DEPTH):
        layer = [each for one in layer for each in _inner(one)]
    return bool(layer)


def too_deep(field: str) -> InvalidArgument:
    """The error for such a value."""
    return InvalidArgument(f"{field}: {TOO_DEEP}", code=3, reason="INVALID_ARGUMENT", violations=((field, TOO_DEEP),))


def fill(target: Struct, values: Mapping[str, Any], field: str) -> None:
    """Write it into the field; InvalidArgument if it is too deep, ValueError if it is nothing that JSON can say."""
    if is_too_deep(values):
        raise too_deep(field)
    try:
        target.update(values)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{field}: this is no JSON object: {error}") from None
    target.SetInParent()


def _inner(one: Any) -> list[Any]:
    return [each for each in (one.values() if isinstance(one, Mapping) else one) if _is_nested(each)]


def _is_nested(each: Any) -> bool:
    return isinstance(each, Mapping | Sequence) and not isinstance(each, str | bytes)
