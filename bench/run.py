"""Every benchmark, its figure and its reference from one run; `make bench` and `make bench-quick`.

    python bench/run.py [--quick] [--without-peers] [--only PART]

Parts: start (ready, idle memory), ctl (a cold gatewayctl), chat (a message through `sim`), and of events fanout (to 1,
10, 100 and 1,000 subscribers), latency (2,000 events/s to 100), requests (between two clients), durable (publishes
acknowledged after fsync), memory (idle connections and streams), growth (subscriptions that do not match), publishers
(1, 4 and 16 to 100) and filters (each subscriber gets a part). What each row means is in bench/README.md.

Exit code 0: all is right, whether or not every target is met. 1: an answer was wrong. 2: a row could not be measured.
"""

import argparse
import sys
import time
from pathlib import Path

import chat
import praisonai_chat
import uvloop
from events.parts import PARTS
from processes import WrongAnswer
from report import Row, markdown, text
from start import cold_ctl, ready_and_memory

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
LEFT = Path(__file__).resolve().parent / "LEFT.md"


def main() -> int:
    """Measure, print, and for a full run write RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds; writes nothing")
    parser.add_argument("--without-peers", action="store_true", help="rows without their peer are no failure")
    parser.add_argument("--only", choices=("start", "ctl", "chat", *PARTS), help="one part; writes nothing")
    arguments = parser.parse_args()
    began = time.monotonic()
    try:
        rows = _measure(arguments)
    except (Exception, ExceptionGroup) as error:
        print(f"WRONG: {_first(error)}", file=sys.stderr)
        return 1
    print(text(rows))
    seconds = time.monotonic() - began
    print(f"\n{sum(row.met is True for row in rows)} of {len(rows)} targets met, {seconds:.0f} s")
    if not arguments.quick and not arguments.only:
        peers = [version] if (version := praisonai_chat.installed()) else []
        left = LEFT.read_text(encoding="utf-8") if LEFT.exists() else ""
        RESULTS.write_text(
            markdown(rows, command="make bench", seconds=seconds, peers=peers, left=left), encoding="utf-8"
        )
    missing = [row for row in rows if row.met is None]
    return 2 if missing and not arguments.without_peers else 0


def _first(error: BaseException) -> str:
    """What went wrong first, out of the groups that tasks put around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, WrongAnswer) else f"{type(error).__name__}: {error}"


def _measure(arguments: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    quick, only = arguments.quick, arguments.only
    if only in (None, "start"):
        rows += ready_and_memory(5 if quick else 15)
    if only in (None, "ctl"):
        rows.append(cold_ctl(7 if quick else 15))
    if only in (None, "chat"):
        with_peer = bool(praisonai_chat.installed()) and not arguments.without_peers
        rounds, messages = (3, 600) if quick else (5, 1500)
        rows += uvloop.run(chat.rows(rounds=rounds, messages=messages, with_peer=with_peer))
    for name, part in PARTS.items():
        if only in (None, name):
            rows += uvloop.run(part(quick, not arguments.without_peers))
    return rows


if __name__ == "__main__":
    sys.exit(main())
