"""What a write-ahead log says about itself, read before SQLite does.

SQLite ends its reading of a log at the first frame whose checksum does not fit, in silence: that is how it drops a
commit that a crash cut off. A flipped bit in the middle looks the same to it and would cost every later commit. But
only the last group can have been cut off, because each is on disk before the next begins: two commits of this log
behind the last valid frame mean damage. (https://sqlite.org/fileformat2.html#walformat)
"""

import os
import struct
from pathlib import Path

from gatewayd.core.errors import StoreCorrupt
from gatewayd.storage.sqlite.seal import ADVICE

_HEADER = struct.Struct(">IIIIIIII")
_FRAME = struct.Struct(">II8s")
_FRAME_BYTES = 24
_MAGIC = (0x377F0682, 0x377F0683)
_MIX = 0xFFFFFFFF
_SHM_FRAMES = 16
"""Where the index (`-shm`) has the number of valid frames (https://sqlite.org/walformat.html#the_wal_index_header)."""


def valid_frames(index: int) -> int:
    """The number of frames that SQLite found valid, from an open descriptor of its index."""
    raw = os.pread(index, 4, _SHM_FRAMES)
    return struct.unpack("=I", raw)[0] if len(raw) == 4 else 0


def check(log: Path, page_size: int, valid: int) -> None:
    """`StoreCorrupt` when commits were lost that were acknowledged; `valid` as `valid_frames` tells."""
    descriptor = os.open(log, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        header = os.pread(descriptor, _HEADER.size, 0)
        if len(header) < _HEADER.size:
            return
        sound = _is_sound(header)
        commits: dict[bytes, int] = {}
        offset = _HEADER.size + valid * (_FRAME_BYTES + page_size)
        while len(raw := os.pread(descriptor, _FRAME.size, offset)) == _FRAME.size:
            page, pages_after_commit, salt = _FRAME.unpack(raw)
            # Frames of an earlier use of the same file have other salts; they were moved into the database.
            if page and pages_after_commit and (not sound or salt == header[16:24]):
                commits[salt] = commits.get(salt, 0) + 1
            offset += _FRAME_BYTES + page_size
    finally:
        os.close(descriptor)
    lost = max(commits.values(), default=0)
    if lost > 1:
        raise StoreCorrupt(f"{log} is damaged and {lost} commits in it cannot be read: {ADVICE}")


def _is_sound(header: bytes) -> bool:
    """Whether the log's own header fits its checksum."""
    magic, *_, first, second = _HEADER.unpack(header)
    if magic not in _MAGIC:
        return False
    words = struct.unpack(">6I" if magic & 1 else "<6I", header[:24])
    a = b = 0
    for left, right in zip(words[::2], words[1::2], strict=True):
        a = (a + left + b) & _MIX
        b = (b + right + a) & _MIX
    return (a, b) == (first, second)
