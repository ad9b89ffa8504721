"""Start, signals and end of the real process."""

import signal
import time
from pathlib import Path

import pytest
from daemon_rig import Daemon


def test_sigterm_drains_and_exits_0(tmp_path):
    with Daemon(tmp_path) as daemon:
        daemon.ready()
        assert daemon.stop() == 0
        assert "drained ended=True" in daemon.text
        assert "stopped code=0" in daemon.text


def test_sigint_is_like_sigterm(tmp_path):
    with Daemon(tmp_path) as daemon:
        daemon.ready().signal(signal.SIGINT)
        assert daemon.wait() == 0


def test_F25_a_second_signal_cuts_the_drain_short(tmp_path):
    with Daemon(tmp_path, drain_timeout=30.0, drain_seconds=25.0) as daemon:
        daemon.ready().signal(signal.SIGTERM)
        daemon.wait_for("stopping")
        began = time.monotonic()
        daemon.signal(signal.SIGINT)
        assert daemon.wait() == 0
        assert time.monotonic() - began < 20
        assert "drained ended=False" in daemon.text


def test_F25_sigquit_does_not_wait_at_all(tmp_path):
    with Daemon(tmp_path, drain_timeout=30.0, drain_seconds=25.0) as daemon:
        daemon.ready().signal(signal.SIGQUIT)
        assert daemon.wait(20) == 0
        assert "drained ended=False" in daemon.text


def test_sigterm_during_the_start_ends_it(tmp_path):
    with Daemon(tmp_path, start_seconds=30.0) as daemon:
        daemon.wait_for("starting")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
        assert "INFO ready" not in daemon.text
        assert "drained" in daemon.text


def test_a_busy_loop_does_not_keep_the_interpreter_from_the_stores_threads(tmp_path):
    """Counted in turns of the loop: with the interpreter's own interval it took more than a hundred for each row."""
    with Daemon(tmp_path, handovers=300) as daemon:
        daemon.ready()
        line = daemon.wait_for("INFO shared", 60)
        assert "rows=300" in line
        assert int(line.partition("turns=")[2].split()[0]) < 3000


def test_F26_a_handler_that_ignores_cancellation_is_named_and_left(tmp_path):
    with Daemon(tmp_path, stuck=True) as daemon:
        daemon.ready()
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 50
        line = daemon.wait_for("tasks_left_behind")
        assert "standin: stubborn handler at" in line
        assert "standin.py" in line


@pytest.mark.slow
def test_F26_a_stop_that_blocks_the_loop_is_ended_by_force_and_named(tmp_path):
    with Daemon(tmp_path, hang_in_stop=60.0, drain_timeout=0.0) as daemon:
        daemon.ready().signal(signal.SIGTERM)
        assert daemon.wait(50) == 0
        line = daemon.wait_for("stop_forced")
        assert "standin.py" in line
        assert "drain_and_stop" in line


def test_a_failing_store_ends_the_daemon_with_75(tmp_path):
    with Daemon(tmp_path, fail_after=0.2) as daemon:
        daemon.ready()
        assert daemon.wait() == 75
        assert "gateway_failed" in daemon.text
        assert "drained" in daemon.text


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        ("config", 78, "gateway.yaml:3:5: agents.a: is wrong (fix it)"),
        ("address", 69, "Address already in use"),
        ("privileged", 69, "Permission denied"),  # F15
        ("state", 73, "/state/gateway.db"),  # F33
        ("corrupt", 73, "the store is damaged at page 7"),
        ("store", 75, "fsync failed"),
        ("bug", 75, "ZeroDivisionError: a defect"),
    ],
)
def test_what_refuses_a_start_is_an_exit_code_and_a_sentence(tmp_path, error, code, said):
    with Daemon(tmp_path, start_error=error) as daemon:
        assert daemon.wait() == code
        assert said in daemon.wait_for("start_refused")
        assert ("Traceback" in daemon.text) == (error == "bug")
        assert "drained" in daemon.text, "what had started must be let go"


def test_F18_sighup_reloads_and_a_thousand_of_them_are_a_few(tmp_path):
    with Daemon(tmp_path, reload_seconds=0.2) as daemon:
        daemon.ready()
        end = time.monotonic() + 1.0
        for _ in range(1000):
            daemon.signal(signal.SIGHUP)
            time.sleep(max(0.0, min(0.001, end - time.monotonic())))
        last = time.monotonic()
        daemon.wait_for("reloaded count=2")
        time.sleep(1.0)
        assert daemon.stop() == 0
        reloads = sum("reloaded count=" in line for line in daemon.lines)
        assert 2 <= reloads <= (last - end + 1.0) / 0.2 + 4
        assert f"reloads={reloads}" in daemon.wait_for("drained")


def test_F19_sighup_during_the_start_is_kept_for_later(tmp_path):
    with Daemon(tmp_path, start_seconds=1.0) as daemon:
        daemon.wait_for("starting")
        daemon.signal(signal.SIGHUP)
        daemon.ready()
        daemon.wait_for("reloaded count=1")
        assert daemon.stop() == 0


def test_F19_sighup_during_the_drain_is_ignored_and_told(tmp_path):
    with Daemon(tmp_path, drain_seconds=1.0) as daemon:
        daemon.ready().signal(signal.SIGTERM)
        daemon.wait_for("INFO stopping")
        daemon.signal(signal.SIGHUP)
        assert daemon.wait() == 0
        daemon.wait_for('signal signal=SIGHUP meaning="ignored: stopping"')
        assert "reloads=0" in daemon.wait_for("drained")


def test_sigusr1_writes_tasks_queues_and_stacks_to_the_log(tmp_path):
    with Daemon(tmp_path, stuck=True) as daemon:
        daemon.ready().signal(signal.SIGUSR1)
        daemon.wait_for("queued: 3")
        daemon.wait_for("stubborn handler at")
        daemon.wait_for("thread MainThread")
        daemon.wait_for("supervise.py")
        assert daemon.stop() == 0


def test_sigpipe_does_not_end_it(tmp_path):
    with Daemon(tmp_path) as daemon:
        daemon.ready().signal(signal.SIGPIPE)
        assert daemon.stop() == 0


def test_F27_a_blocked_loop_is_told_with_the_guilty_line(tmp_path):
    with Daemon(tmp_path, block_seconds=3.0) as daemon:
        daemon.ready()
        line = daemon.wait_for("loop_blocked")
        assert "standin.py" in line
        assert "_block" in line
        daemon.wait_for("loop_freed")
        assert daemon.text.count("loop_blocked") == 1
        assert daemon.stop() == 0


def test_no_core_dumps_and_many_files(tmp_path):
    with Daemon(tmp_path) as daemon:
        daemon.ready()
        lines = Path(f"/proc/{daemon.pid}/limits").read_text().splitlines()
        limits = {line[:26].strip(): line[26:].split() for line in lines}
        assert limits["Max core file size"][:2] == ["0", "0"]
        assert limits["Max open files"][0] == limits["Max open files"][1]
        daemon.wait_for(f"files={limits['Max open files'][0]}")
        assert daemon.stop() == 0


def test_the_directories_get_their_modes(tmp_path):
    with Daemon(tmp_path) as daemon:
        daemon.ready()
        assert daemon.state.stat().st_mode & 0o777 == 0o700
        assert daemon.runtime.stat().st_mode & 0o777 == 0o750
        assert daemon.stop() == 0
