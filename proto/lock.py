"""The symbol lock: every name, number and type of the contract, in one file that a review cannot overlook.

    python proto/lock.py          says what differs from proto/gateway.v1.lock.txtpb, and fails if anything does
    python proto/lock.py --write  makes the lock say what the contract says

`buf breaking` judges a change against the last release; the lock shows each change on the day it is made.
"""

import difflib
import importlib
import sys
from pathlib import Path

from google.protobuf import descriptor_pb2, text_format

PROTO = Path(__file__).parent
LOCK = PROTO / "gateway.v1.lock.txtpb"
PACKAGE = PROTO / "gateway" / "v1"

HEAD = """\
# proto-file: google/protobuf/descriptor.proto
# proto-message: FileDescriptorSet
# The symbols of gateway.v1, written by `python proto/lock.py --write`. v1 only grows.
"""


def symbols() -> descriptor_pb2.FileDescriptorSet:
    """All files of the public contract, as the committed stubs describe them: without comments."""
    found = descriptor_pb2.FileDescriptorSet()
    for path in sorted(PACKAGE.glob("*.proto")):
        module = importlib.import_module(f"gateway.v1.{path.stem}_pb2")
        module.DESCRIPTOR.CopyToProto(found.file.add())
    return found


def render() -> str:
    """The text that the lock should have."""
    return HEAD + text_format.MessageToString(symbols())


def difference() -> str:
    """A unified diff from the lock to the contract; empty when they agree."""
    locked = LOCK.read_text() if LOCK.exists() else ""
    lines = difflib.unified_diff(locked.splitlines(), render().splitlines(), LOCK.name, "contract", lineterm="")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    if arguments == ["--write"]:
        LOCK.write_text(render())
        return 0
    if arguments:
        sys.stderr.write(f"{__doc__}\n")
        return 64
    changes = difference()
    if changes:
        sys.stderr.write(
            f"{changes}\nthe contract is not what its lock says: if that is meant, run proto/lock.py --write\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
