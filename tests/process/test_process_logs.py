"""What reaches standard error, and that nothing there can harm the daemon."""

import base64
import json
import os
import signal
from pathlib import Path

import pytest
from daemon_rig import Daemon, NotifySocket

SECRET = 'gw_s3cret"with/odd+characters-0123456789'


@pytest.fixture
def ear(tmp_path):
    ear = NotifySocket(str(tmp_path / "ear"))
    yield ear
    ear.close()


def test_secrets_are_masked_wherever_they_come_from(tmp_path):
    for style in ("text", "json"):
        with Daemon(tmp_path, secret=SECRET, log=["debug", style]) as daemon:
            daemon.wait_for("ready")
            assert daemon.stop() == 0
            text = daemon.text
        for form in (SECRET, SECRET.encode().hex(), base64.b64encode(SECRET.encode()).decode().rstrip("=")):
            assert form not in text
            assert json.dumps(form)[1:-1] not in text
        assert text.count("[secret:") >= 5
        for event in ("leak", "a message from elsewhere", "UserWarning: warned about", "leak_traceback"):
            assert event in text


def test_nobody_can_forge_a_line_or_steer_a_terminal(tmp_path):
    lines = ["a\nERROR forged", "b\r\x1b[31mred", "c\u2028d\u202ee", "f\x00g"]
    with Daemon(tmp_path, lines=lines) as daemon:
        daemon.ready()
        assert daemon.stop() == 0
        assert r'what="a\nERROR forged"' in daemon.text
        assert r"b\r\x1b[31mred" in daemon.text
        assert r"c\u2028d\u202ee" in daemon.text
        assert not any(line.startswith("ERROR forged") for line in daemon.lines)
        assert "\x1b" not in daemon.text


def test_json_is_one_object_per_line(tmp_path):
    with Daemon(tmp_path, log=["info", "json"], lines=["a\nb"], secret=SECRET) as daemon:
        daemon.wait_for('"event": "ready"')
        assert daemon.stop() == 0
    entries = [json.loads(line) for line in daemon.lines if line.startswith("{")]
    said = next(entry for entry in entries if entry["event"] == "said")
    assert said["what"] == "a\nb"
    assert said["level"] == "info"
    assert said["logger"] == "gatewayd.standin"
    trace = next(entry["traceback"] for entry in entries if entry["event"] == "leak_traceback")
    assert "ValueError: bad token [secret:" in trace
    rest = daemon.lines[daemon.lines.index(next(line for line in daemon.lines if line.startswith("{"))) :]
    assert all(line.startswith("{") for line in rest)


def test_under_the_journal_every_line_has_its_priority_and_no_time(tmp_path):
    reader, writer = os.pipe()
    found = os.fstat(writer)
    environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    with Daemon(tmp_path, environ=environ, stderr=writer, secret=SECRET) as daemon:
        os.close(writer)
        with os.fdopen(reader) as log:
            text = ""
            while "INFO ready" not in text:
                text += log.readline()
            daemon.signal(signal.SIGTERM)
            text += log.read()
        assert daemon.wait() == 0
    lines = text.splitlines()
    assert all(line.startswith(("<3>", "<4>", "<6>", "<7>")) for line in lines)
    assert "<3>ERROR leak_traceback" in lines
    assert any(line.startswith("<3>  | ValueError") for line in lines)
    assert any(line.startswith("<6>INFO ready") for line in lines)


def test_F84_a_reader_that_never_reads_does_not_hold_it_up(tmp_path, ear):
    reader, writer = os.pipe()
    with Daemon(tmp_path, environ={"NOTIFY_SOCKET": ear.path}, stderr=writer, flood=5000) as daemon:
        os.close(writer)
        ear.wait_for("READY=1")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        os.close(reader)


def test_F84_a_closed_standard_error_does_not_kill_it(tmp_path, ear):
    reader, writer = os.pipe()
    with Daemon(tmp_path, environ={"NOTIFY_SOCKET": ear.path}, stderr=writer, flood=100) as daemon:
        os.close(writer)
        os.close(reader)
        ear.wait_for("READY=1")
        assert daemon.process.poll() is None
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


def test_F84_a_full_disk_under_the_log_does_not_kill_it(tmp_path, ear):
    with (
        Path("/dev/full").open("w") as full,
        Daemon(tmp_path, environ={"NOTIFY_SOCKET": ear.path}, stderr=full, flood=100) as daemon,
    ):
        ear.wait_for("READY=1")
        assert daemon.process.poll() is None
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


def test_F84_dropped_lines_are_counted_and_told(tmp_path):
    with Daemon(tmp_path, flood=5000) as daemon:
        # Whether the reader keeps up or not: nothing is lost untold. The word `ready` may be among what is.
        daemon.wait_for(" flood ")
        assert daemon.stop() == 0
        seen = sum(" flood " in line for line in daemon.lines)
        told = sum(int(line.partition("count=")[2]) for line in daemon.lines if "log_lines_dropped" in line)
        assert seen + told >= 5000
