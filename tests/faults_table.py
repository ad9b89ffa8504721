"""The table of faults: for each of F01 to F84 whether its tests pass. A test belongs to one by its name, `test_F17_…`.

    python tests/faults_table.py                 runs those tests and prints the table
    python tests/faults_table.py --junit FILE    prints it from a run of `pytest --junitxml=FILE`

Exits with 1 when a fault's test failed; a fault without a test is only told.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
NAME = re.compile(r"test((?:_F\d\d)+)_")
PASSED, FAILED, SKIPPED, NONE = "passed", "failed", "skipped", "no test yet"

FAULTS = """
YAML syntax error|unknown key|wrong type or range|duplicate key or id|variable unset, empty, nested|hostile YAML
YAML tags|reference to something absent|secret literals and file modes|configuration missing or no file|stale pidfile
pidfile with a foreign pid|pidfile is a link|second instance|port in use, bad address|bind without guard|broken reload
a thousand SIGHUPs|SIGHUP during start or drain|reload while executions run|reload removes what is in use
reload needs a restart|reload refused half-way|SIGTERM under load|SIGTERM twice|handler ignores cancellation
event loop blocked|SIGKILL at any instant|SIGKILL during migration|power cut|fsync fails|disk full|state directory gone
database locked|database damaged|no descriptors left|memory limit|task limit|clock jumps|daylight saving
schedules overlap or missed|malformed protobuf|oversize and floods|not HTTP/2|slow subscriber|subscriber never reads
client vanishes|cancel storm|ten thousand idle connections|a thousand reconnect at once|odd cursors|duplicate publish
event flood|webhook duplicated|webhook with a bad MAC|webhook abuse|webhook while the store stalls
crash before the webhook's answer|bad tokens|forged source or type|token rotated or revoked|certificate rotated
certificate unusable|model does not answer in time|model limited or failing|model stream cut or malformed
model oversteps its grants|tool misbehaves|guardrail fails|Telegram 409|Telegram 429, 5xx, 401|Telegram offset and crash
Slack socket|Discord gateway|WhatsApp webhooks|text too long or malformed|network odd|NATS unavailable
PostgreSQL unavailable|crash between send and mark|poison message|push abuse
upgrade with live state|log cannot be written
"""
TITLES = [title.strip() for title in FAULTS.replace("\n", "|").split("|") if title.strip()]


def faults_of(name: str) -> list[int]:
    """The faults that a test is named after."""
    match = NAME.match(name)
    return [int(number) for number in re.findall(r"\d\d", match[1])] if match else []


def collected() -> list[str]:
    """The ids of all tests that are named after a fault."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=", "tests"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    ids = [line for line in done.stdout.splitlines() if "::" in line]
    if done.returncode or not ids:
        raise SystemExit(done.stdout + done.stderr)
    return [each for each in ids if faults_of(each.rpartition("::")[2])]


def run(ids: list[str], report: Path) -> None:
    """Run these tests; their outcomes are in the report."""
    # Whole files and a choice of names: hundreds of ids would not fit a command line for ever.
    files = sorted({each.partition("::")[0] for each in ids})
    names = sorted({each.rpartition("::")[2].partition("[")[0] for each in ids})
    subprocess.run(
        [sys.executable, "-m", "pytest", f"--junitxml={report}", "-k", " or ".join(names), *files],
        cwd=ROOT, stdout=sys.stderr, check=False,
    )  # fmt: skip


def outcomes(report: Path) -> dict[int, list[str]]:
    """Fault → the outcome of each of its tests."""
    found: dict[int, list[str]] = defaultdict(list)
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = FAILED if kinds & {"failure", "error"} else SKIPPED if "skipped" in kinds else PASSED
        for number in faults_of(case.get("name", "")):
            found[number].append(outcome)
    return found


def verdict(results: list[str]) -> str:
    """One word for all tests of a fault."""
    return next((word for word in (FAILED, PASSED, SKIPPED) if word in results), NONE)


def main() -> int:
    parser = argparse.ArgumentParser(description="for each fault whether its tests pass")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="read this report instead of running the tests")
    report = parser.parse_args().junit
    if report is None:
        report = Path(tempfile.mkdtemp()) / "faults.xml"
        run(collected(), report)
    found = outcomes(report)
    counts: dict[str, int] = defaultdict(int)
    for number, title in enumerate(TITLES, start=1):
        word = verdict(found[number])
        counts[word] += 1
        tests = f"{len(found[number])} tests" if len(found[number]) > 1 else ""
        print(f"F{number:02}  {title:<36} {word:<12} {tests}".rstrip())
    print(", ".join(f"{counts[word]} {word}" for word in (PASSED, FAILED, SKIPPED, NONE) if counts[word]))
    return 1 if counts[FAILED] else 0


if __name__ == "__main__":
    sys.exit(main())
