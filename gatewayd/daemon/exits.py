"""Exit codes, those of sysexits.h; supervisors and scripts decide by them."""

import errno
from enum import IntEnum

from gatewayd.core.errors import ConfigInvalid, InvalidArgument, StoreCorrupt
from gatewayd.daemon.lock import AlreadyRunning
from gatewayd.daemon.paths import PathUnusable


class Exit(IntEnum):
    """Why the process ended."""

    OK = 0
    USAGE = 64
    """The command line is wrong."""
    UNAVAILABLE = 69
    """Another daemon runs here, or the address cannot be had."""
    STATE = 73
    """The state (or runtime) directory, the pidfile or the store in it cannot be used until somebody looks at it."""
    TEMPORARY = 75
    """Anything else: worth another try."""
    CONFIG = 78
    """The configuration is wrong: starting again does not help."""


_ADDRESS = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL})
_PATH = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
    }
)


def exit_code(error: BaseException) -> Exit:
    """The code for what a start was refused by."""
    if isinstance(error, ConfigInvalid | InvalidArgument):
        return Exit.CONFIG
    if isinstance(error, AlreadyRunning):
        return Exit.UNAVAILABLE
    if isinstance(error, PathUnusable | StoreCorrupt):
        return Exit.STATE
    if isinstance(error, OSError):
        # A refusal that names no file is one of an address: ports below 1024 are not everybody's.
        refused = error.errno in (errno.EACCES, errno.EPERM) and error.filename is None
        if error.errno in _ADDRESS or refused:
            return Exit.UNAVAILABLE
        if error.errno in _PATH:
            return Exit.STATE
    return Exit.TEMPORARY
