"""`--daemon`: the parent's answer is the daemon's fate."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from daemon_rig import STANDIN, Daemon


def wait_gone(pid):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.02)
    raise AssertionError(f"{pid} still runs")


def test_the_parent_returns_once_the_daemon_is_ready(tmp_path):
    began = time.monotonic()
    with Daemon(tmp_path, "--daemon", "--pidfile", "gatewayd.pid", start_seconds=1.0) as parent:
        # Its pipes end with it although the daemon lives on: whoever captures output is not kept waiting.
        out, _ = parent.process.stdout.read(), parent.wait()
        assert parent.process.returncode == 0
        assert time.monotonic() - began >= 1.0
        assert out == ""
        pid = int((tmp_path / "gatewayd.pid").read_text())
        try:
            assert pid != parent.pid
            assert os.getsid(pid) != os.getsid(0)
            log = (tmp_path / "state" / "gatewayd.log").read_text()
            assert "INFO ready" in log
            assert (tmp_path / "state" / "gatewayd.log").stat().st_mode & 0o777 == 0o600
            with Daemon(tmp_path) as second:
                assert second.wait() == 69
                assert f"already running: pid {pid}" in second.text
        finally:
            os.kill(pid, signal.SIGTERM)
        wait_gone(pid)
        assert not (tmp_path / "gatewayd.pid").exists()


def test_a_refused_start_is_told_where_it_was_started(tmp_path):
    with Daemon(tmp_path, "--daemon", start_error="config") as parent:
        assert parent.wait() == 78
        assert "gateway.yaml:3:5: agents.a: is wrong (fix it)" in parent.text


def test_a_second_instance_is_told_where_it_was_started(tmp_path):
    with Daemon(tmp_path) as first:
        first.ready()
        with Daemon(tmp_path, "--daemon") as parent:
            assert parent.wait() == 69
            assert f"already running: pid {first.pid}" in parent.text
        assert first.stop() == 0


def test_an_unusable_state_directory_is_told_before_anything_else(tmp_path):
    (tmp_path / "state").write_text("")
    with Daemon(tmp_path, "--daemon") as parent:
        assert parent.wait() == 73
        assert "is not a directory" in parent.text


def test_a_redirected_log_stays_where_it_was_redirected_to(tmp_path):
    with (tmp_path / "mine.log").open("w") as log:
        with Daemon(tmp_path, "--daemon", "--pidfile", "gatewayd.pid", stderr=log) as parent:
            assert parent.wait() == 0
    pid = int((tmp_path / "gatewayd.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_gone(pid)
    assert "stopped code=0" in (tmp_path / "mine.log").read_text()
    assert not (tmp_path / "state" / "gatewayd.log").exists()


@pytest.mark.parametrize(
    "environ", [{"NOTIFY_SOCKET": "/run/nobody"}, {"INVOCATION_ID": "0123"}], ids=["notify", "invocation"]
)
def test_detaching_under_systemd_is_refused_and_explained(tmp_path, environ):
    with Daemon(tmp_path, "--daemon", environ=environ) as parent:
        assert parent.wait() == 64
        assert "systemd is the supervisor" in parent.text


def test_a_shell_of_a_user_s_systemd_may_detach(tmp_path):
    environ = {"INVOCATION_ID": "0123", "SYSTEMD_EXEC_PID": "1"}
    with Daemon(tmp_path, "--daemon", "--pidfile", "gatewayd.pid", environ=environ) as parent:
        assert parent.wait() == 0
    pid = int((tmp_path / "gatewayd.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_gone(pid)


def test_nothing_that_hates_a_fork_is_imported_before_it():
    code = (
        "import sys, threading, gatewayd.cli, gatewayd.daemon.process, gatewayd.config.files;"
        "heavy = {'grpc', 'uvloop', 'litellm', 'pydantic', 'google.protobuf'} & set(sys.modules);"
        "assert not heavy, heavy; assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=STANDIN.parents[2])
