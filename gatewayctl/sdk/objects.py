"""JSON objects on their way into a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.struct_pb2 import Struct

from gatewayctl.sdk.errors import InvalidArgument

MAX_DEPTH = 32
"""Objects and lists within each other, as the daemon takes them; not far beyond it protobuf does not write them."""
TOO_DEEP = f"nested deeper than {MAX_DEPTH} objects and lists; make it flatter, or send the inner part as a text"


def fill(target: Struct, values: Mapping[str, Any], field: str) -> None:
    """Write it into the field; InvalidArgument if it is too deep."""
    layer: list[Any] = [values]
    for _ in range(MAX_DEPTH):
        layer = [each for one in layer for each in _inner(one)]
    if layer:
        raise InvalidArgument(
            f"{field}: {TOO_DEEP}", code=3, reason="INVALID_ARGUMENT", violations=((field, TOO_DEEP),)
        )
    target.update(values)
    target.SetInParent()


def _inner(one: Any) -> list[Any]:
    found = one.values() if isinstance(one, Mapping) else one
    return [each for each in found if isinstance(each, Mapping | Sequence) and not isinstance(each, str | bytes)]
