"""Word to the service manager: sd_notify(3) in a few lines, and nothing at all where nobody listens.

Every message is one datagram; a service manager that is gone is no reason to fail.
"""

import os
import socket
from collections.abc import Mapping

from gatewayd.core.clock import Clock

MAX_STATUS = 512
"""Longest status line, in characters."""


class Notifier:
    """Sends states to the socket that `NOTIFY_SOCKET` names: a path, or `@name` in the abstract space."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._clock = clock
        self.watchdog_interval = _watchdog(environ) if self.active else 0.0
        """Seconds between two signs of life, half of what the manager allows; 0 when it asks for none."""

    @property
    def active(self) -> bool:
        """Whether somebody listens."""
        return self._address.startswith(("/", "@"))

    def ready(self, status: str) -> None:
        """The start, or a reload, has ended."""
        self._send("READY=1", _status(status))

    def status(self, status: str) -> None:
        """One line for people."""
        self._send(_status(status))

    def reloading(self) -> None:
        """A reload begins; `ready` ends it, whatever became of it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.monotonic() * 1_000_000)}")

    def stopping(self, status: str, seconds: float) -> None:
        """The end begins, and may take this long, even if that is longer than the unit says."""
        self._send("STOPPING=1", _status(status), _extend(seconds))

    def extend(self, seconds: float) -> None:
        """A start or stop that makes progress asks for this much more time."""
        self._send(_extend(seconds))

    def watchdog(self) -> None:
        """A sign of life."""
        self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        if not self.active:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as door:
                door.connect(address)
                door.send("\n".join(assignments).encode(errors="replace"))
        except OSError:
            return


def _watchdog(environ: Mapping[str, str]) -> float:
    """Half of WATCHDOG_USEC in seconds, if it is meant for this process."""
    digits = environ.get("WATCHDOG_USEC", "")
    owner = environ.get("WATCHDOG_PID", "")
    if not (digits.isascii() and digits.isdigit()) or (owner and owner != str(os.getpid())):
        return 0.0
    return int(digits) / 2_000_000


def _status(text: str) -> str:
    # A line break would begin another assignment, such as MAINPID.
    return "STATUS=" + " ".join(text.split())[:MAX_STATUS]


def _extend(seconds: float) -> str:
    return f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}"
