"""Where log lines go: a descriptor that may be slow, full or gone, and must never hold up or kill the daemon.

A line is written at once when the descriptor takes it; otherwise it waits in a bounded backlog that a thread writes
off. Lines beyond the bound are dropped and counted, and the count is told once there is room again.
"""

import os
import select
import threading
from collections import deque
from pathlib import Path

from gatewayd.core.clock import Clock

MAX_BACKLOG = 1024 * 1024
"""Bytes that may wait."""
MAX_FILE = 10 * 1024 * 1024
"""Bytes of a log file that the daemon keeps itself; at it the file is renamed to `*.1`, over the one before."""
_PIECE = select.PIPE_BUF
"""What a pipe that polls as writable takes without waiting."""
_POLL_MILLIS = 200
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Sink:
    """One output. Safe to use from any thread; never raises, and never waits except in `close`."""

    def __init__(self, descriptor: int, clock: Clock, file: Path | None = None, *, max_file: int = MAX_FILE) -> None:
        self._descriptor = descriptor
        self._file = file
        self._max_file = max_file
        self._size = os.fstat(descriptor).st_size if file is not None else 0
        self._clock = clock
        self._lock = threading.Lock()
        self._backlog: deque[bytes] = deque()
        self._waiting = 0
        self._untold = 0
        self._thread: threading.Thread | None = None
        self._closing = False
        self.dropped = 0
        """Lines that were never written, because the output was full or gone."""

    def write(self, line: bytes) -> None:
        """Write the line (which ends in a newline), now or soon, or drop it."""
        with self._lock:
            if not self._backlog:
                rest = self._try(line)
                if not rest:
                    return
                line = rest
            if self._closing or self._waiting + len(line) > MAX_BACKLOG:
                self._drop()
                return
            self._backlog.append(line)
            self._waiting += len(line)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work_off, name="log-backlog", daemon=True)
                self._thread.start()

    def close(self, seconds: float) -> None:
        """Wait that long for the backlog; what is left then is dropped."""
        end = self._clock.monotonic() + seconds
        thread = self._thread
        if thread is not None:
            thread.join(max(0.0, end - self._clock.monotonic()))
        with self._lock:
            self._closing = True
            self.dropped += len(self._backlog)
            self._backlog.clear()
            self._waiting = 0

    def _try(self, line: bytes) -> bytes:
        """Write what can be written without waiting; returns the rest."""
        while line:
            state = self._ready(0)
            if state & _GONE:
                self._drop()
                return b""
            if not state:
                return line
            try:
                written = os.write(self._descriptor, line[:_PIECE])
                line = line[written:]
                self._size += written
                if self._file is not None and self._size > self._max_file and not line:
                    self._turn_over(self._file)
            except BlockingIOError:
                return line
            except OSError:  # EPIPE, ENOSPC, EBADF, EIO: this line is lost, the next may not be
                self._drop()
                return b""
        return b""

    def _ready(self, millis: int) -> int:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        found = poll.poll(millis)
        return found[0][1] if found else 0

    def _turn_over(self, file: Path) -> None:
        """Go on in an empty file; the descriptor stays, since native libraries write to it too."""
        self._size = 0
        file.replace(file.with_name(f"{file.name}.1"))
        fresh = open_log(file)
        os.dup2(fresh, self._descriptor)
        os.close(fresh)

    def _drop(self) -> None:
        self.dropped += 1
        self._untold += 1

    def _work_off(self) -> None:
        while True:
            self._ready(_POLL_MILLIS)
            with self._lock:
                if not self._backlog:
                    self._thread = None
                    return
                line = self._backlog.popleft()
                self._waiting -= len(line)
                if rest := self._try(line):
                    self._backlog.appendleft(rest)
                    self._waiting += len(rest)
                elif not self._backlog and self._untold:
                    notice = b"log_lines_dropped count=%d\n" % self._untold
                    self._untold = 0
                    self._backlog.append(notice)
                    self._waiting += len(notice)


def open_log(file: Path) -> int:
    """A descriptor that appends to the file, which only the daemon's user can read; never through a link."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(file, flags, 0o600)
