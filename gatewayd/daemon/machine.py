"""What the process asks of the kernel for itself: no core dumps, as many files as allowed."""

import logging
import resource

log = logging.getLogger(__name__)

MOST_FILES = 1_048_576
_PR_SET_DUMPABLE = 4


def harden() -> None:
    """Keep memory (and the secrets in it) out of core files and away from other processes of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        import ctypes  # noqa: PLC0415  # some hardened kernels refuse it, and then only this is lost

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (ImportError, OSError, AttributeError, MemoryError) as error:
        log.warning("dumpable_not_cleared", extra={"reason": str(error)})


def raise_file_limit() -> int:
    """Take as many descriptors as the hard limit allows; returns how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.warning("file_limit_not_raised", extra={"reason": str(error), "limit": soft})
        return soft
    return wanted
