"""How a command fails: one clear sentence, further lines where there are several things to say, and an exit code.

The exit codes are part of the interface; scripts rely on them.
"""

from collections.abc import Sequence

OK = 0
FAILED = 1
"""The daemon refused, or what was asked for did not work out."""
USAGE = 2
NOT_RUNNING = 3
"""Nobody answers at the address."""
UNKNOWN = 4
"""There is no such agent, channel, session, message."""
UNAUTHORIZED = 5
"""No token, a wrong one, or one without the scope."""
DEGRADED = 6
"""`status --deep`: something works, but not as it should."""
BROKEN = 7
"""`status --deep`: something does not work."""
INTERRUPTED = 130
"""Ctrl-C, as shells have it."""


class Failure(Exception):
    """Ends the command. `lines` follow the sentence, one problem each."""

    def __init__(self, message: str, code: int = FAILED, lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.lines = tuple(lines)
        self.execution_id = ""
        """The execution that goes on all the same, where the daemon names one."""
