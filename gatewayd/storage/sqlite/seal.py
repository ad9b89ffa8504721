"""Row seals: a CRC-32 over a row's values, so that a flipped bit is an error and never an answer.

Structure is SQLite's to check; it cannot know that a text in an intact page was another text once.
"""

from zlib import crc32

from gatewayd.core.errors import StoreCorrupt

ADVICE = "stop gatewayd and restore a backup, or move the file aside to start empty; it was left as it is"


def seal(*values: object) -> int:
    """The seal of these values, which must be in the form that SQLite gives back (a time is a float)."""
    # Not repr(): what it escapes depends on Python's Unicode tables, so an upgrade would break seals.
    return crc32("\x1f".join(map(str, values)).encode())


def seal_event(seq: int, owner: str, time: float, wire: bytes) -> int:
    """The seal of an event's row; its filter columns are compared with what the bytes say."""
    return seal_bytes(wire, crc32(f"{seq}\x1f{owner}\x1f{time}".encode()))


def seal_bytes(content: bytes, start: int) -> int:
    """The seal of bytes after `start`; one that no row has where a flipped bit has made them something else."""
    return crc32(content, start) if isinstance(content, bytes) else -1


def seal_seen(scope: str, id_: str, digest: bytes, ref: str, time: float) -> int:
    """The seal of a seen id, as `seal` would make it of these values with the digest in hexadecimal."""
    if not isinstance(digest, bytes):
        return -1
    return crc32(f"{scope}\x1f{id_}\x1f{digest.hex()}\x1f{ref}\x1f{time}".encode())


def damaged(what: str) -> StoreCorrupt:
    """The verdict on a row that does not fit its seal."""
    return StoreCorrupt(f"{what} is damaged: {ADVICE}")


def size_of(*texts: str) -> int:
    """Bytes of these texts in UTF-8, as `length(CAST(… AS BLOB))` counts them."""
    size = 0
    for text in texts:
        size += len(text) if text.isascii() else len(text.encode())
    return size
