"""What a process tells and holds while it runs: notifier, paths, exit codes, locks."""

import errno
import os
from pathlib import Path

import pytest

from gatewayd.core.errors import ConfigInvalid, GatewayError, StoreCorrupt
from gatewayd.daemon.exits import Exit, exit_code
from gatewayd.daemon.lock import AlreadyRunning, DirectoryLock, start_time
from gatewayd.daemon.notify import Notifier
from gatewayd.daemon.paths import Paths, PathUnusable, resolve_paths
from gatewayd.testing.fakes import FakeClock


def test_without_a_socket_nothing_is_said():
    notify = Notifier({"WATCHDOG_USEC": "1000000"}, FakeClock())
    assert not notify.active
    assert notify.watchdog_interval == 0
    notify.ready("up")


@pytest.mark.parametrize(("usec", "seconds"), [("30000000", 15.0), ("", 0.0), ("x", 0.0), ("-5", 0.0), ("0", 0.0)])
def test_the_watchdog_interval_is_half_of_what_is_allowed(usec, seconds):
    assert Notifier({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": usec}, FakeClock()).watchdog_interval == seconds


def test_a_status_cannot_smuggle_in_an_assignment(tmp_path):
    import socket  # noqa: PLC0415

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "ear"))
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "ear")}, FakeClock()).status("up\nMAINPID=1\n" + "x" * 1000)
        heard = ear.recv(65536).decode()
    assert "\n" not in heard
    assert heard.startswith("STATUS=up MAINPID=1 x")


@pytest.mark.parametrize(
    ("environ", "state", "runtime"),
    [
        ({"STATE_DIRECTORY": "/s", "RUNTIME_DIRECTORY": "/r"}, "/s", "/r"),
        ({"STATE_DIRECTORY": "/s:/t", "RUNTIME_DIRECTORY": "/r:/q"}, "/s", "/r"),
        ({"XDG_STATE_HOME": "/x", "XDG_RUNTIME_DIR": "/run/user/7"}, "/x/gatewayd", "/run/user/7/gatewayd"),
        ({"HOME": "/h"}, "/h/.local/state/gatewayd", "/h/.local/state/gatewayd/run"),
        ({"HOME": "/h", "XDG_STATE_HOME": "relative", "XDG_RUNTIME_DIR": "relative"},
         "/h/.local/state/gatewayd", "/h/.local/state/gatewayd/run"),
    ],
)  # fmt: skip
def test_where_things_are(environ, state, runtime):
    assert resolve_paths(environ) == Paths(Path(state), Path(runtime))


def test_no_place_for_the_state_is_a_sentence():
    with pytest.raises(PathUnusable, match="set STATE_DIRECTORY"):
        resolve_paths({})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigInvalid("x"), Exit.CONFIG),
        (AlreadyRunning(5, Path("/x")), Exit.UNAVAILABLE),
        (PathUnusable("x"), Exit.STATE),
        (StoreCorrupt("x"), Exit.STATE),
        (OSError(errno.EADDRINUSE, "x"), Exit.UNAVAILABLE),
        (OSError(errno.EADDRNOTAVAIL, "x"), Exit.UNAVAILABLE),
        (PermissionError(errno.EACCES, "x"), Exit.UNAVAILABLE),
        (PermissionError(errno.EACCES, "x", "/s"), Exit.STATE),
        (OSError(errno.EROFS, "x", "/s"), Exit.STATE),
        (OSError(errno.ENOSPC, "x", "/s"), Exit.TEMPORARY),
        (GatewayError("x"), Exit.TEMPORARY),
        (RuntimeError("x"), Exit.TEMPORARY),
    ],
)
def test_exit_codes(error, code):
    assert exit_code(error) is code


def test_a_lock_is_held_released_and_names_its_holder(tmp_path):
    first, second = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    first.acquire()
    with pytest.raises(AlreadyRunning) as caught:
        second.acquire()
    assert caught.value.pid == os.getpid()
    assert (tmp_path / "gatewayd.lock").read_text() == f"{os.getpid()} {start_time(os.getpid())}\n"
    first.release()
    first.release()
    second.acquire()
    second.release()


def test_a_lock_file_that_was_removed_while_held_is_made_anew(tmp_path):
    first = DirectoryLock(tmp_path)
    first.acquire()
    (tmp_path / "gatewayd.lock").unlink()
    second = DirectoryLock(tmp_path)
    second.acquire()
    assert (tmp_path / "gatewayd.lock").exists()
    first.release()
    second.release()
