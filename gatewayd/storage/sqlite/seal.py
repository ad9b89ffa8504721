"""Row seals: a CRC-32 over a row's values, so that a flipped bit is an error and never an answer.

Structure is SQLite's to check; it cannot know that a text in an intact page was another text once.
"""

from typing import Any
from zlib import crc32

from gatewayd.core.errors import StoreCorrupt

ADVICE = "stop gatewayd and restore a backup, or move the file aside to start empty; it was left as it is"


def seal(*values: object) -> int:
    """The seal of these values, which must be in the form that SQLite gives back (a time is a float)."""
    # Not repr(): what it escapes depends on Python's Unicode tables, so an upgrade would break seals.
    return crc32("\x1f".join(map(str, values)).encode())


def seal_event(seq: int, owner: str, time: float | str, wire: bytes) -> int:
    """The seal of an event's row; its filter columns are compared with what the bytes say.

    `time` may be given as `str(time)`: to write it out takes half of the time that a seal does.
    """
    return seal_bytes(wire, crc32(f"{seq}\x1f{owner}\x1f{time}".encode()))


def seal_bytes(content: bytes, start: int) -> int:
    """The seal of bytes after `start`; one that no row has where a flipped bit has made them something else."""
    return crc32(content, start) if isinstance(content, bytes) else -1


def seal_batch(scope: str, ids: str, digests: bytes, refs: str, time: float) -> int:
    """The seal of a batch of seen ids."""
    return seal_bytes(digests, crc32(f"{scope}\x1f{ids}\x1f{refs}\x1f{time}".encode()))


def reseal(*row: Any) -> int:
    """The seal of a batch that is made of one seen id; it fits only if `crc`, the seal that the id had, did."""
    scope, id_, digest, ref, time, crc, ids, refs = row
    if not isinstance(digest, bytes):
        return 0  # fits no batch: of such a digest that is -1
    before = crc32(f"{scope}\x1f{id_}\x1f{digest.hex()}\x1f{ref}\x1f{time}".encode())
    new: int = before ^ crc ^ seal_batch(scope, ids, digest, refs, time)
    return new


def damaged(what: str) -> StoreCorrupt:
    """The verdict on a row that does not fit its seal."""
    return StoreCorrupt(f"{what} is damaged: {ADVICE}")


def size_of(*texts: str) -> int:
    """Bytes of these texts in UTF-8, as `length(CAST(… AS BLOB))` counts them."""
    size = 0
    for text in texts:
        size += len(text) if text.isascii() else len(text.encode())
    return size
