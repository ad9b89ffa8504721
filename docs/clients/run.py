"""Builds the example clients and runs each against a real daemon, through lost connections: `make polyglot`.

Exit code 0: all of them did what they should; 1: one did not; 3: a toolchain is not there (with --no-install).
"""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from harness import daemon, story, work
from harness.child import Failed
from harness.toolchains import LANGUAGES, Language, Missing, build, install

from gatewayctl.client import GatewayError

OK, FAILED, ABSENT = 0, 1, 3


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    language: str
    versions: str
    events: str
    resumed: str
    worker: str
    verdict: str

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.language, self.versions, self.events, self.resumed, self.worker, self.verdict)


HEAD = Row("client", "versions", "events", "resumed", "worker", "verdict")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [language.name for language in LANGUAGES]
    parser.add_argument("only", nargs="*", metavar="CLIENT", help=f"which of {', '.join(names)}; all if none is named")
    parser.add_argument("--no-install", action="store_true", help="take what is there; exit 3 if that is not enough")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(names):
        parser.error(f"there is no client {', '.join(sorted(unknown))}")
    languages = [language for language in LANGUAGES if not arguments.only or language.name in arguments.only]
    try:
        prepare(languages, may_install=not arguments.no_install)
    except Missing as error:
        print(error, file=sys.stderr)
        return ABSENT if arguments.no_install else FAILED
    rows = asyncio.run(run(languages))
    table([HEAD, *rows])
    return OK if all(row.verdict == "ok" for row in rows) else FAILED


def prepare(languages: Sequence[Language], *, may_install: bool) -> None:
    """Have the toolchains. Raises Missing."""
    if may_install:
        install(languages)
    elif absent := [language.name for language in languages if not language.is_present]:
        raise Missing(f"the toolchain of {', '.join(absent)} is not installed: `make polyglot` installs it")


async def run(languages: Sequence[Language]) -> list[Row]:
    """All of them against one daemon; a row for each, whatever happens."""
    async with daemon.running() as gateway:
        return [await judged(gateway, language) for language in languages]


async def judged(gateway: daemon.Daemon, language: Language) -> Row:
    """Build and run one."""
    name = language.name
    print(f"{name}: building", flush=True)
    try:
        await asyncio.to_thread(build, language)
        print(f"{name}: running", flush=True)
        verdict = await story.survives_cuts(gateway, name, language.command)
        await story.sees_faults(gateway, name, language.command)
        print(f"{name}: working", flush=True)
        await work.answers_calls(gateway, language.worker)
        await work.answers_events(gateway, language.worker)
        await work.loses_its_agent(gateway, language.worker)
    except (Failed, GatewayError, TimeoutError, subprocess.SubprocessError) as error:
        return Row(name, language.version, "", "", "", f"FAILED: {str(error) or 'it took too long'}")
    versions = f"{language.version}, grpc {verdict['grpc']}"
    events, resumed = verdict["own"] + verdict["others"], verdict["resumed"]
    return Row(name, versions, str(events), f"{resumed} of {verdict['connections'] - 1}", "ok", verdict["verdict"])


def table(rows: Sequence[Row]) -> None:
    widths = [max(len(cells[column]) for cells in (row.cells for row in rows)) for column in range(len(HEAD.cells))]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row.cells, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
