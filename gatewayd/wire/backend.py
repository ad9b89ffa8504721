"""Which implementation of protobuf is at work: the pure Python one is refused at the start.

It decodes nested messages by recursion that a hostile frame can exhaust (CVE-2025-4565), and is many times slower.
"""

from google.protobuf.internal import api_implementation

from gatewayd.core.errors import ConfigInvalid

SLOW = "python"


def refuse_slow_backend(kind: str | None = None) -> None:
    """Raise `ConfigInvalid` for the pure Python implementation; `kind` is the one at work unless given."""
    if (kind or api_implementation.Type()) == SLOW:
        raise ConfigInvalid(
            "protobuf runs in its pure Python implementation, which cannot bear hostile input: unset "
            "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION, or install a protobuf wheel for this platform"
        )
