"""What a service manager hears, on a socket like its own."""

import re
import signal
import time

import pytest
from daemon_rig import Daemon, NotifySocket


@pytest.fixture(params=["path", "abstract"])
def ear(request, tmp_path):
    if request.param == "path":
        ear = NotifySocket(str(tmp_path / "ear"))
        ear.name = ear.path
    else:
        ear = NotifySocket(f"\0gatewayd-test-{tmp_path.name}-{time.monotonic_ns()}")
        ear.name = "@" + ear.path[1:]
    yield ear
    ear.close()


def test_ready_reload_and_stopping(tmp_path, ear):
    with Daemon(tmp_path, environ={"NOTIFY_SOCKET": ear.name}) as daemon:
        ear.wait_for("READY=1")
        assert ear.heard[-1] == "READY=1\nSTATUS=1 of 1 channels up, 0 reloads"
        daemon.signal(signal.SIGHUP)
        ear.wait_for("1 reloads")
        reloading = next(message for message in ear.heard if message.startswith("RELOADING=1"))
        micros = int(re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", reloading)[1])
        assert abs(time.monotonic() * 1e6 - micros) < 20e6
        assert daemon.stop() == 0
        ear.wait_for("STOPPING=1")
        stopping = next(message for message in ear.heard if message.startswith("STOPPING=1"))
        assert "EXTEND_TIMEOUT_USEC=35000000" in stopping


def test_F27_the_loop_itself_feeds_the_watchdog(tmp_path, ear):
    environ = {"NOTIFY_SOCKET": ear.name, "WATCHDOG_USEC": "1200000"}
    with Daemon(tmp_path, environ=environ, block_seconds=3.0) as daemon:
        daemon.wait_for("loop_blocked")
        ear.wait_for("WATCHDOG=1")
        while True:  # what was said before the block
            try:
                ear.socket.settimeout(0.05)
                ear.heard.append(ear.socket.recv(65536).decode())
            except TimeoutError:
                break
        ear.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            ear.socket.recv(65536)
        daemon.wait_for("loop_freed")
        times = []
        for _ in range(3):
            ear.heard.clear()
            ear.wait_for("WATCHDOG=1")
            times.append(time.monotonic())
        assert times[2] - times[0] < 2 * 1.2
        assert daemon.stop() == 0


def test_another_process_s_watchdog_is_not_ours(tmp_path, ear):
    environ = {"NOTIFY_SOCKET": ear.name, "WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"}
    with Daemon(tmp_path, environ=environ) as daemon:
        daemon.ready()
        time.sleep(0.8)
        assert daemon.stop() == 0
        ear.wait_for("STOPPING=1")
        assert not any("WATCHDOG" in message for message in ear.heard)


def test_a_refused_start_says_no_ready(tmp_path, ear):
    with Daemon(tmp_path, environ={"NOTIFY_SOCKET": ear.name}, start_error="config") as daemon:
        assert daemon.wait() == 78
        ear.wait_for("STOPPING=1")
        assert not any("READY" in message for message in ear.heard)
