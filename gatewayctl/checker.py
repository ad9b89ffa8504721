"""gatewayd's own checker, run beside us: what needs no daemon is answered by the same code that would serve it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from gatewayctl.failures import FAILED, UNKNOWN, USAGE, Failure

PATIENCE = 60.0
EX_USAGE = 64
EX_CONFIG = 78


def gatewayd(*words: str) -> subprocess.CompletedProcess[str]:
    """Run gatewayd of this environment with these options to its end, at most a minute.

    `-P`: the directory we stand in is not searched for modules.
    """
    command = [sys.executable, "-P", "-m", "gatewayd", *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"gatewayd did not finish its check within {PATIENCE:g} s") from None
    except OSError as error:
        raise Failure(f"gatewayd of this environment cannot be run: {error.strerror}") from None


def config_option(path: str | None) -> tuple[str, ...]:
    """`--config FILE`, if there is one."""
    return ("--config", path) if path else ()


def checked(path: str | None) -> dict[str, Any]:
    """Channels and agents of a configuration. Failure with one line per problem if it has any."""
    return answered(gatewayd("--check", "--json", *config_option(path)))


def answered(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON that gatewayd has printed. Failure if it printed none, or problems of the configuration."""
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise Failure(said(done), UNKNOWN if done.returncode == EX_USAGE else FAILED) from None
    problems = report.get("problems") or []
    if problems:
        count = len(problems)
        lines = [_line(each) for each in problems]
        raise Failure(f"the configuration has {count} problem{'' if count == 1 else 's'}", FAILED, lines)
    return dict(report)


def rows(section: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """A section by name as rows with the name under `key`."""
    return [{key: name, **values} for name, values in section.items()]


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What gatewayd complained about, as one sentence."""
    lines = [line for line in done.stderr.splitlines() or done.stdout.splitlines() if line.strip()]
    return lines[-1].removeprefix("gatewayd: ") if lines else f"gatewayd ended with {done.returncode} and said nothing"


def code_of(done: subprocess.CompletedProcess[str]) -> int:
    """Our exit code for one of gatewayd's."""
    return 0 if done.returncode == 0 else USAGE if done.returncode == EX_USAGE else FAILED


def _line(problem: dict[str, Any]) -> str:
    place = f"{problem['file']}:{problem['line']}:{problem['col']}" if problem.get("line") else problem.get("file", "")
    path = f"{problem['path']}: " if problem.get("path") else ""
    hint = f" ({problem['hint']})" if problem.get("hint") else ""
    return f"{place}: {path}{problem.get('what', '')}{hint}"
