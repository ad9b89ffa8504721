"""One instance per directory, pidfiles, and directories that cannot be used."""

import os
import socket
import sys
from pathlib import Path

import pytest
from daemon_rig import Daemon

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user: needs root")


def test_F14_a_second_instance_exits_69_and_names_the_first(tmp_path):
    with Daemon(tmp_path) as first:
        first.ready()
        with Daemon(tmp_path) as second:
            assert second.wait() == 69
            assert f"already running: pid {first.pid}" in second.wait_for("start_refused")
        assert first.process.poll() is None
        assert first.stop() == 0


def test_F14_a_shared_runtime_directory_is_refused_too(tmp_path):
    (tmp_path / "other").mkdir()
    with Daemon(tmp_path) as first:
        first.ready()
        with Daemon(tmp_path / "other", environ={"RUNTIME_DIRECTORY": str(first.runtime)}) as second:
            assert second.wait() == 69
            assert f"already running: pid {first.pid}" in second.text
        assert first.stop() == 0


def test_a_kill_leaves_nothing_that_stops_the_next(tmp_path):
    with Daemon(tmp_path) as first:
        first.ready().process.kill()
        first.wait()
    with Daemon(tmp_path) as second:
        assert second.ready().stop() == 0


def test_the_lock_of_a_daemon_is_not_passed_to_its_children(tmp_path):
    with Daemon(tmp_path) as daemon:
        daemon.ready()
        held = [fd for fd in Path(f"/proc/{daemon.pid}/fd").iterdir() if fd.readlink().name == "gatewayd.lock"]
        assert len(held) == 2
        for descriptor in held:
            info = Path(f"/proc/{daemon.pid}/fdinfo/{descriptor.name}").read_text().splitlines()
            flags = next(int(line.split()[1], 8) for line in info if line.startswith("flags:"))
            assert flags & os.O_CLOEXEC
        assert daemon.stop() == 0


def test_a_lock_file_that_is_a_link_is_refused_and_its_victim_untouched(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "gatewayd.lock").symlink_to(victim)
    with Daemon(tmp_path) as daemon:
        assert daemon.wait() == 73
        assert "is a link" in daemon.text
    assert victim.read_text() == "precious"


def test_the_pidfile_is_written_and_removed(tmp_path):
    with Daemon(tmp_path, "--pidfile", "gatewayd.pid") as daemon:
        daemon.ready()
        assert (tmp_path / "gatewayd.pid").read_text() == f"{daemon.pid}\n"
        assert daemon.stop() == 0
    assert not (tmp_path / "gatewayd.pid").exists()
    assert not list(tmp_path.glob(".gatewayd.pid*"))


def test_F14_a_pidfile_of_another_daemon_is_refused(tmp_path):
    (tmp_path / "other").mkdir()
    with Daemon(tmp_path, "--pidfile", "gatewayd.pid") as first:
        first.ready()
        with Daemon(tmp_path / "other", "--pidfile", tmp_path / "gatewayd.pid") as second:
            assert second.wait() == 69
            assert f"already running: pid {first.pid}" in second.text
        assert (tmp_path / "gatewayd.pid").read_text() == f"{first.pid}\n"
        assert first.stop() == 0


def test_a_pidfile_that_is_a_fifo_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "gatewayd.pid")
    with Daemon(tmp_path, "--pidfile", "gatewayd.pid") as daemon:
        assert daemon.wait(10) == 73
        assert "not a regular file" in daemon.text


def test_a_pidfile_that_somebody_replaced_is_not_removed(tmp_path):
    with Daemon(tmp_path, "--pidfile", "gatewayd.pid") as daemon:
        daemon.ready()
        (tmp_path / "gatewayd.pid").unlink()
        (tmp_path / "gatewayd.pid").write_text("1\n")
        assert daemon.stop() == 0
    assert (tmp_path / "gatewayd.pid").read_text() == "1\n"


def test_F33_a_state_directory_that_is_a_file(tmp_path):
    (tmp_path / "state").write_text("")
    with Daemon(tmp_path) as daemon:
        assert daemon.wait() == 73
        assert f"state directory {tmp_path}/state is not a directory" in daemon.text


def test_F33_a_state_directory_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with Daemon(tmp_path, environ={"STATE_DIRECTORY": f"{tmp_path}/file/state"}) as daemon:
        assert daemon.wait() == 73
        assert "Not a directory" in daemon.text


@needs_root
def test_F33_a_state_directory_of_another_user(tmp_path):
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", 65534, 65534)
    with Daemon(tmp_path) as daemon:
        assert daemon.wait() == 73
        assert "belongs to uid 65534, but gatewayd runs as uid 0" in daemon.text


def test_F33_a_read_only_state_directory(tmp_path):
    with Daemon(tmp_path, environ={"STATE_DIRECTORY": "/proc/self/task"}) as daemon:
        assert daemon.wait() == 73
        assert "/proc/self/task" in daemon.wait_for("start_refused")


def test_no_place_for_the_state(tmp_path):
    with Daemon(tmp_path, environ={"STATE_DIRECTORY": "", "HOME": ""}) as daemon:
        assert daemon.wait() == 73
        assert "set STATE_DIRECTORY, XDG_STATE_HOME or HOME" in daemon.text


def test_no_configuration_anywhere_names_the_places(tmp_path):
    program = [sys.executable, "-m", "gatewayd"]
    with Daemon(tmp_path, program=program, config=False) as daemon:
        assert daemon.wait() == 78
        said = daemon.process.stdout.read() + daemon.text
        for place in (tmp_path / "gateway.yaml", tmp_path / "home/.config/gatewayd/gateway.yaml"):
            assert str(place) in said
        assert "/etc/gatewayd/gateway.yaml" in said


def test_the_notify_socket_may_be_gone(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "ear"))
    with Daemon(tmp_path, environ={"NOTIFY_SOCKET": str(tmp_path / "ear")}) as daemon:
        assert daemon.ready().stop() == 0
