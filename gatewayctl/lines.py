"""Lines of a person or a program, read so that the reading can be called off: what was asked may be over meanwhile."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from types import FrameType
from typing import Protocol

from gatewayctl.failures import FAILED, Failure

MAX_LINE = 8 << 20
"""Bytes of a line; the daemon takes less."""


class CalledOff(Exception):
    """The line is not wanted any more; nothing of it is lost."""


class Lines(Protocol):
    """Where lines come from. `read` belongs to the main thread, `call_off` to any other."""

    def read(self, prompt: str, off: threading.Event | None = None) -> str | None:
        """The next line, None at the end. CalledOff once `off` is set and `call_off` was called."""

    def call_off(self) -> None: ...


class Terminal:
    """A person, with arrow keys and a history where the interpreter has them."""

    def __init__(self) -> None:
        self._off: threading.Event | None = None
        self._typed = ""
        _edit_lines()
        # Its handler stays: a signal that comes late must find one.
        signal.signal(signal.SIGUSR1, self._called)

    def read(self, prompt: str, off: threading.Event | None = None) -> str | None:
        self._off = off
        try:
            if off is not None and off.is_set():
                raise CalledOff
            return _input(prompt, self._take_typed())
        except EOFError:
            return None
        finally:
            self._off = None

    def call_off(self) -> None:
        """Wake the main thread from its reading."""
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _called(self, _number: int, _frame: FrameType | None) -> None:
        if self._off is not None and self._off.is_set():
            self._typed = _typed()
            raise CalledOff

    def _take_typed(self) -> str:
        typed, self._typed = self._typed, ""
        return typed


class Pipe:
    """A program, or a file."""

    def __init__(self, source: int) -> None:
        """`source`: the descriptor to read."""
        self._source = source
        self._rest = b""
        self._over = False
        self._awake, self._wake = os.pipe()

    def read(self, prompt: str, off: threading.Event | None = None) -> str | None:  # noqa: ARG002 - nobody reads it
        while b"\n" not in self._rest and not self._over:
            ready, _, _ = select.select([self._source, self._awake], [], [])
            if self._awake in ready:
                os.read(self._awake, 64)
                if off is not None and off.is_set():
                    raise CalledOff
            elif data := os.read(self._source, 1 << 16):
                self._rest += data
                if len(self._rest) > MAX_LINE and b"\n" not in self._rest:
                    raise Failure("a line on standard input is longer than 8 MiB: send less", FAILED)
            else:
                self._over = True
        if not self._rest:
            return None
        line, _, self._rest = self._rest.partition(b"\n")
        return line.removesuffix(b"\r").decode()

    def call_off(self) -> None:
        os.write(self._wake, b".")


def lines_of_stdin() -> tuple[Lines, bool]:
    """Standard input, and whether a person is at it."""
    if sys.stdin.isatty():
        return Terminal(), True
    return Pipe(sys.stdin.fileno()), False


def _edit_lines() -> None:
    """Arrow keys and history for `input`."""
    try:
        import readline  # noqa: F401, PLC0415 - importing it is what does it; some builds have none
    except ImportError:
        return


def _input(prompt: str, typed: str) -> str:
    """`input`, with what was typed before in the line already."""
    readline = sys.modules.get("readline")
    if readline is None or not typed:
        return input(prompt)
    readline.set_startup_hook(lambda: readline.insert_text(typed))
    try:
        return input(prompt)
    finally:
        readline.set_startup_hook()


def _typed() -> str:
    """What stands in the line that is being typed."""
    readline = sys.modules.get("readline")
    return readline.get_line_buffer() if readline is not None else ""
