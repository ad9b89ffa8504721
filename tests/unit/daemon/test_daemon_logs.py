"""How lines leave the process: the sink, the mask and the log."""

import ast
import json
import logging
import os
import time
from pathlib import Path

import pytest

import gatewayd
from gatewayd.core.clock import SystemClock
from gatewayd.core.secret import Secret
from gatewayd.daemon.logs import BODY_FIELDS, Logs, escape
from gatewayd.daemon.mask import Mask
from gatewayd.daemon.sink import MAX_BACKLOG, Sink, open_log

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
