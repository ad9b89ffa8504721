"""Every benchmark, its figure and its reference from one run; `make bench` and `make bench-quick`.

    python bench/run.py [--quick] [--without-peers] [--only PART]

Parts: start (ready, idle memory), ctl (a cold gatewayctl), chat (a message through `sim`), and of events fanout (to 1,
10, 100 and 1,000 subscribers), latency (2,000 events/s to 100), requests (between two clients), durable (publishes
acknowledged after fsync), memory (idle connections and streams), growth (subscriptions that do not match), publishers
(1, 4 and 16 to 100) and filters (each subscriber gets a part); and inprocess (the message engine and the bus, without a
wire). What each row means is in bench/README.md.

Each part tells its rows on standard error when it is measured; all of them stand on standard output at the end. When a
part fails, those measured before it stand there, and nothing is written.

Exit code 0: all is right, whether or not every target is met. 1: an answer was wrong, or a part failed. 2: a row could
not be measured.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import uvloop

from bench import chat, praisonai_chat
from bench.chart import bars
from bench.events import autogen, nats
from bench.events.parts import PARTS, Part
from bench.events.plain import cpp_installed
from bench.inprocess import compare
from bench.processes import WrongAnswer
from bench.report import Row, line, markdown, text
from bench.start import cold_ctl, ready_and_memory

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
LEFT = Path(__file__).resolve().parent / "LEFT.md"

Measure = Callable[[], list[Row]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and for a full run in which nothing failed write RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds; writes nothing")
    parser.add_argument("--without-peers", action="store_true", help="rows without their peer are no failure")
    parser.add_argument(
        "--only", choices=("start", "ctl", "chat", *PARTS, "inprocess"), help="one part; writes nothing"
    )
    arguments = parser.parse_args(argv)
    began = time.monotonic()
    rows: list[Row] = []
    failed = _measure(parts_of(arguments.quick, not arguments.without_peers), arguments.only, rows)
    seconds = time.monotonic() - began
    print(text(rows))
    aimed = [row for row in rows if row.target != "–"]
    print(f"\n{sum(row.met is True for row in aimed)} of {len(aimed)} targets met, {seconds:.0f} s")
    if failed:
        print(f"WRONG: {failed}", file=sys.stderr)
        return 1
    if not arguments.quick and not arguments.only:
        _write(rows, seconds)
    missing = [row for row in rows if row.met is None]
    return 2 if missing and not arguments.without_peers else 0


def _measure(parts: Mapping[str, Measure], only: str | None, rows: list[Row]) -> str:
    """Append the rows of each part as it is measured; which part failed and of what, '' if none did."""
    for name, measure in parts.items():
        if only in (None, name):
            began = time.monotonic()
            try:
                found = measure()
            except (Exception, ExceptionGroup) as error:
                if not isinstance(error, WrongAnswer):
                    traceback.print_exception(error)
                return f"part {name} failed, and what comes behind it was not measured: {_first(error)}"
            rows += found
            print(f"{name}: {time.monotonic() - began:.0f} s", *map(line, found), sep="\n", file=sys.stderr)
    return ""


def _write(rows: Sequence[Row], seconds: float) -> None:
    charts = []
    fan_out = {group: values for row in rows if row.what.startswith("fan-out") for group, values in row.bars.items()}
    latency = {group: values for row in rows if row.in_flight == "paced" for group, values in row.bars.items()}
    for name, alt, unit, groups in (
        ("fanout.svg", "Fan-out: deliveries in a second, by subscribers and window", "deliveries/s", fan_out),
        ("latency.svg", "2,000 events/s to 100 subscribers: time to delivery", "milliseconds", latency),
    ):
        if drawn := bars(alt, unit, groups, logarithmic=True):
            RESULTS.with_name(name).write_text(drawn, encoding="utf-8")
            charts.append((name, alt))
    found = (praisonai_chat.installed(), autogen.installed(), nats.installed(), cpp_installed())
    left = LEFT.read_text(encoding="utf-8") if LEFT.exists() else ""
    peers = [version for version in found if version]
    page = markdown(rows, command="make bench", seconds=seconds, peers=peers, left=left, charts=charts)
    RESULTS.write_text(page, encoding="utf-8")


def _first(error: BaseException) -> str:
    """What went wrong first, out of the groups that tasks put around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, WrongAnswer) else f"{type(error).__name__}: {error}"


def parts_of(quick: bool, with_peers: bool) -> dict[str, Measure]:
    """What there is to measure, by name and in order."""
    return {
        "start": lambda: ready_and_memory(5 if quick else 15, settled=1 if quick else 3),
        "ctl": lambda: [cold_ctl(7 if quick else 15)],
        "chat": lambda: _chats(quick, with_peers),
        **{name: partial(_events, part, quick, with_peers) for name, part in PARTS.items()},
        "inprocess": lambda: compare.measure(quick=quick, with_peers=with_peers),
    }


def _chats(quick: bool, with_peers: bool) -> list[Row]:
    with_peer = bool(praisonai_chat.installed()) and with_peers
    rounds, messages = (2, 600) if quick else (5, 1500)
    return uvloop.run(chat.rows(rounds=rounds, messages=messages, with_peer=with_peer))


def _events(part: Part, quick: bool, with_peers: bool) -> list[Row]:
    return uvloop.run(part(quick, with_peers))


if __name__ == "__main__":
    sys.exit(main())
