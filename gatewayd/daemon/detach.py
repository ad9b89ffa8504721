"""Going into the background, for hosts without systemd (python-daemon does the detaching).

It happens before grpc, uvloop or any thread exists: none of them survives a fork. The process that was started waits
until the daemon is ready and only then ends with 0; what refuses a start is shown where it was started.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping

from gatewayd.core.value import value
from gatewayd.daemon.exits import Exit
from gatewayd.daemon.logs import say
from gatewayd.daemon.options import Options
from gatewayd.daemon.paths import PathUnusable, prepare
from gatewayd.daemon.sink import open_log

log = logging.getLogger(__name__)

Report = Callable[[int, str], None]
"""Told once how the start went: the exit code (0: ready) and what to say."""
UMASK = 0o077
_STDERR = 2


@value(frozen=True, slots=True)
class _Descriptor:
    """What python-daemon wants of a stream."""

    number: int

    def fileno(self) -> int:
        return self.number


def refusal(environ: Mapping[str, str], pid: int) -> str:
    """Why this process must not detach; '' when it may."""
    service = environ.get("SYSTEMD_EXEC_PID")
    # A shell that a user's systemd started inherits INVOCATION_ID; the pid tells whether we are the service itself.
    if environ.get("NOTIFY_SOCKET") or service == str(pid) or (service is None and "INVOCATION_ID" in environ):
        return "--daemon is for hosts without systemd: here systemd is the supervisor; leave the flag out"
    return ""


def run_detached(options: Options, child: Callable[[Report], int]) -> int:
    """Run the child in the background; returns twice: at once ready in the parent, at its end in the child."""
    if reason := refusal(options.environ, os.getpid()):
        say(reason)
        return Exit.USAGE
    try:
        prepare(options.paths)
    except PathUnusable as error:
        say(str(error))
        return Exit.STATE
    reader, writer = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        os.close(writer)
        return _await_report(reader, pid)
    os.close(reader)
    _detach(options, writer)
    return child(lambda code, text: _report(writer, code, text))


def _detach(options: Options, keep: int) -> None:
    from daemon import DaemonContext  # noqa: PLC0415  # only the child that detaches needs it

    stderr = _STDERR if writes_to_file(_STDERR) else open_log(options.paths.log)
    DaemonContext(
        umask=UMASK,
        detach_process=True,
        files_preserve=[keep],
        stderr=_Descriptor(stderr),
        # No signal is given a meaning here; `Signals` does that.
        signal_map={},
    ).open()


def writes_to_file(descriptor: int) -> bool:
    """Whether it was redirected to a file. A pipe or terminal of the one who started us is not ours to keep open."""
    try:
        return os.path.isfile(f"/proc/self/fd/{descriptor}")  # noqa: PTH113  # a link of /proc, not a path
    except OSError:
        return False


def _report(writer: int, code: int, text: str) -> None:
    try:
        os.write(writer, json.dumps({"code": code, "text": text}).encode()[: 64 * 1024])
        os.close(writer)
    except OSError as error:
        # The one who waited has gone away; the daemon runs all the same.
        log.debug("report_lost", extra={"reason": error.strerror})


def _await_report(reader: int, pid: int) -> int:
    """Wait for the child's word; the end of the pipe without one means that it died."""
    pieces = []
    while piece := os.read(reader, 65536):
        pieces.append(piece)
    os.close(reader)
    # The child of the first fork has ended by now: it only made the daemon.
    os.waitpid(pid, 0)
    try:
        word = json.loads(b"".join(pieces))
    except ValueError:
        say("the daemon died before it was ready; its log may say why")
        return Exit.TEMPORARY
    if word["text"]:
        say(str(word["text"]))
    return int(word["code"])
