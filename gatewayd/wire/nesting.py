"""Events that are nested so deep that nothing more fits around them.

Decoders stop at 100 messages within each other. The deepest JSON that is allowed (`values.MAX_DEPTH`) takes 99 or 100
in a delivery; a batch would put two more around it, and its reader could not read the frame.
"""

from gatewayd.core.chunk import Chunk

_OBJECT = b"\x2a"
"""The tag of `Value.struct_value`: one for each object in another."""
_MANY = 31
"""So many of them within each other take 99 messages or more."""
_LEAST = 6 * _MANY
"""Bytes that they have at least."""


def is_deep(chunk: Chunk) -> bool:
    """Whether an event in there may be that deep. True for some that are not: it counts bytes, and reads nothing."""
    if chunk.deep is None:
        chunk.deep = False
        for event in chunk.events:  # written out, since it is asked of every event that is addressed to somebody
            if len(event.wire) >= _LEAST and event.wire.count(_OBJECT) >= _MANY:
                chunk.deep = True
                break
    return chunk.deep
