"""The parts of the process that can be looked at alone: sink, mask, log, hard stop, notifier, paths, exits."""

import ast
import asyncio
import errno
import json
import logging
import os
import threading
import time
from pathlib import Path

import pytest

import gatewayd
from gatewayd.core.clock import SystemClock
from gatewayd.core.errors import ConfigInvalid, GatewayError, StoreCorrupt
from gatewayd.core.secret import Secret
from gatewayd.daemon.exits import Exit, exit_code
from gatewayd.daemon.hardstop import HardStop
from gatewayd.daemon.lock import AlreadyRunning, DirectoryLock, start_time
from gatewayd.daemon.logs import BODY_FIELDS, Logs, escape
from gatewayd.daemon.loophealth import LoopHealth
from gatewayd.daemon.mask import Mask
from gatewayd.daemon.notify import Notifier
from gatewayd.daemon.paths import Paths, PathUnusable, resolve_paths
from gatewayd.daemon.sink import MAX_BACKLOG, Sink, open_log
from gatewayd.testing.fakes import FakeClock

# Sink


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


def read_all(reader, until, seconds=60.0):
    end = time.monotonic() + seconds
    text = b""
    while until not in text:
        assert time.monotonic() < end, text[-200:]
        text += os.read(reader, 65536)
    return text


def test_lines_come_out_whole_and_in_order_when_the_reader_is_slow(pipe):
    reader, writer = pipe
    sink = Sink(writer, SystemClock())
    for number in range(400):
        sink.write(b"%d %s\n" % (number, b"x" * 1000))
    assert sink.dropped == 0
    lines = read_all(reader, b"\n399 ").split(b"\n")
    assert [int(line.split()[0]) for line in lines if line] == list(range(400))


def test_a_full_output_drops_counts_and_tells_without_waiting(pipe):  # F84
    reader, writer = pipe
    sink = Sink(writer, SystemClock())
    began = time.monotonic()
    for _ in range(3000):
        sink.write(b"x" * 999 + b"\n")
    assert time.monotonic() - began < 30
    assert sink.dropped >= 3000 - (MAX_BACKLOG + 65536) // 1000 - 10
    read_all(reader, b"log_lines_dropped count=%d\n" % sink.dropped)
    sink.write(b"after\n")
    read_all(reader, b"after\n")


def test_a_long_line_comes_out_whole(pipe):
    reader, writer = pipe
    sink = Sink(writer, SystemClock())
    sink.write(b"y" * 300_000 + b"\n")
    assert read_all(reader, b"\n") == b"y" * 300_000 + b"\n"


def test_an_output_that_is_gone_costs_lines_and_nothing_else(pipe):  # F84
    reader, writer = pipe
    os.close(reader)
    sink = Sink(writer, SystemClock())
    for _ in range(10):
        sink.write(b"lost\n")
    assert sink.dropped == 10
    os.close(writer)
    sink.write(b"lost\n")
    sink.close(0.1)
    assert sink.dropped == 11


def test_close_does_not_wait_for_a_reader_that_never_reads(pipe):
    _, writer = pipe
    sink = Sink(writer, SystemClock())
    for _ in range(200):
        sink.write(b"x" * 999 + b"\n")
    began = time.monotonic()
    sink.close(0.3)
    assert time.monotonic() - began < 30
    assert sink.dropped > 100


def test_an_own_log_file_is_turned_over_at_its_bound(tmp_path):
    file = tmp_path / "gatewayd.log"
    descriptor = open_log(file)
    sink = Sink(descriptor, SystemClock(), file, max_file=5000)
    for number in range(100):
        sink.write(b"%03d %s\n" % (number, b"z" * 95))
    assert file.stat().st_size <= 5100
    assert (tmp_path / "gatewayd.log.1").stat().st_size <= 5200
    kept = [int(line[:3]) for path in (f"{file}.1", file) for line in Path(path).read_bytes().splitlines()]
    assert kept == list(range(kept[0], 100))
    assert len(kept) > 50
    assert {path.name for path in tmp_path.iterdir()} == {"gatewayd.log", "gatewayd.log.1"}
    os.close(descriptor)


# Mask and log


def test_the_mask_knows_every_form_and_takes_the_longest_first():
    mask = Mask()
    mask.add([Secret("token"), Secret("token-longer")])
    assert mask.apply("a token-longer b") == f"a [{Secret('token-longer')}] b"
    for form in Secret("token-longer").forms():
        assert "oken" not in mask.apply(f"<{form}>").replace(str(Secret("token-longer")), "")
    assert mask.apply("nothing") == "nothing"


def test_tiny_secrets_do_not_tear_holes():
    mask = Mask()
    mask.add([Secret("ab"), Secret("")])
    assert mask.apply("about") == "about"


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "\x1b[2J", "\x9b31m", "\u202e", "a\\nb", "\x00", "\u2028", "\udcff"])
def test_escaped_text_is_one_printable_line(text):
    assert all(character.isprintable() for character in escape(text))
    assert len(escape(text).splitlines()) == 1


def test_a_literal_backslash_n_is_told_apart_from_a_line_break():
    assert escape("a\\nb") != escape("a\nb")


@pytest.fixture
def logs(pipe):
    reader, writer = pipe
    mask = Mask()
    made = Logs(mask, SystemClock(), {}, descriptor=writer)
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.getLogger("gatewayd").level, logging.raiseExceptions)
    made.install()

    def lines():
        logging.getLogger("gatewayd.test").error("end_of_test")
        return read_all(reader, b"end_of_test").decode().splitlines()[:-1]

    made.mask, made.lines = mask, lines
    yield made
    made.close()
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    logging.getLogger("gatewayd").setLevel(before[2])
    logging.raiseExceptions = before[3]


def test_levels_change_live_and_other_libraries_stay_quiet(logs):
    own, other = logging.getLogger("gatewayd.x"), logging.getLogger("elsewhere")
    own.debug("one")
    own.info("two")
    other.info("three")
    logs.configure("debug", "text")
    own.debug("four")
    other.info("five")
    other.warning("six")
    logs.configure("error", "text")
    own.warning("seven")
    own.error("eight")
    assert [line.split()[2] for line in logs.lines()] == ["two", "four", "six", "eight"]


@pytest.mark.parametrize("style", ["text", "json"])
def test_texts_of_people_are_written_at_debug_only(logs, style):
    logs.configure("debug", style)
    log = logging.getLogger("gatewayd.x")
    for field in BODY_FIELDS:
        log.info("heard", extra={field: "private words"})
    log.debug("heard", extra={"text": "open words"})
    lines = logs.lines()
    assert not any("private words" in line for line in lines)
    assert "open words" in lines[-1]
    assert sum("(13 characters)" in line for line in lines) == len(BODY_FIELDS)


def test_a_field_that_cannot_be_shown_harms_nobody(logs):
    class Odd:
        def __str__(self):
            raise ValueError("no")

    logging.getLogger("gatewayd.x").info("odd", extra={"thing": Odd()})
    logging.getLogger("gatewayd.x").info("bad %d", "format")
    logging.getLogger("gatewayd.x").info("next")
    assert [line.split()[2] for line in logs.lines()] == ["next"]
    assert logs.dropped == 2


def test_json_stays_json_when_a_number_is_a_secret(logs):
    logs.mask.add([Secret("87654321")])
    logs.configure("info", "json")
    logging.getLogger("gatewayd.x").info("dialled", extra={"number": 87654321, "other": 5, "event": "mine"})
    entry = json.loads(logs.lines()[0])
    assert entry["number"] == f"[{Secret('87654321')}]"
    assert entry["other"] == 5
    assert (entry["event"], entry["field_event"]) == ("dialled", "mine")


def test_field_names_never_clash_with_those_of_a_record():
    own = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
    wrong = []
    for path in Path(gatewayd.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.keyword) or node.arg != "extra" or not isinstance(node.value, ast.Dict):
                continue
            names = {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
            wrong += [f"{path.name}:{node.value.lineno} {name}" for name in names & own]
    assert not wrong


# Hard stop and loop health


async def test_F26_the_hard_stop_names_what_held_it_up(caplog):
    left = threading.Event()
    codes = []

    def leave(code):
        codes.append(code)
        left.set()

    stop = HardStop(SystemClock(), lambda: None, leave)
    task = asyncio.create_task(asyncio.Event().wait(), name="stubborn")
    await asyncio.sleep(0)
    stop.arm(60.0, 0, asyncio.get_running_loop())
    stop.shorten(0.1)
    assert await asyncio.to_thread(left.wait, 60)
    assert codes == [0]
    record = next(record for record in caplog.records if record.msg == "stop_forced")
    assert "stubborn at" in record.tasks
    assert "MainThread" in record.threads
    task.cancel()


async def test_a_disarmed_hard_stop_leaves_nobody():
    codes = []
    stop = HardStop(SystemClock(), lambda: None, codes.append)
    stop.arm(0.2, 0, asyncio.get_running_loop())
    stop.disarm()
    await asyncio.sleep(0.4)
    assert codes == []


class HandClock(SystemClock):
    """Time goes on by hand; a beat takes a turn or two of the loop."""

    seconds = 0.0

    def monotonic(self):
        return self.seconds

    async def sleep(self, seconds):
        await asyncio.sleep(0.001)


async def turned(holds):
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


async def test_F27_loop_lag_is_measured_and_liveness_follows_it(caplog):
    clock = HandClock()
    health = LoopHealth(clock, Notifier({}, clock))
    await health.start()
    for _ in range(2):
        await asyncio.sleep(0)  # the beat waits now
    clock.seconds = 1.0
    await turned(lambda: health.worst_lag)
    assert health.alive()
    assert (health.worst_lag, health.blocked) == (0.75, 0)
    clock.seconds += 10.0
    assert not health.alive()
    for _ in range(600):
        time.sleep(0.1)  # this is the blocking that is measured
        if "loop_blocked" in caplog.text:
            break
    assert (health.alive(), health.blocked) == (False, 1)
    await turned(lambda: "loop_freed" in caplog.text)
    assert health.alive()
    assert health.worst_lag == 9.75
    assert health.blocked == 1
    await health.stop()


# Notifier, paths, exit codes, locks


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
