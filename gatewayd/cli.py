"""The command line of `gatewayd`: reads flags, then runs the daemon or answers a question about its configuration.

Nothing heavy is imported here: a daemon that detaches must do so before grpc, uvloop or a thread exists.
"""

import argparse
import gc
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from gatewayd import __version__
from gatewayd.core.disk import SystemDisk
from gatewayd.daemon.exits import Exit
from gatewayd.daemon.paths import PathUnusable, resolve_paths

if TYPE_CHECKING:
    from gatewayd.daemon.options import Options

EPILOG = """exit codes: 0 ok, 64 usage, 69 already running or address in use, 73 state directory unusable,
75 temporary failure, 78 configuration

signals: SIGTERM and SIGINT drain and stop, a second one stops at once; SIGHUP reads the configuration again;
SIGUSR1 writes tasks, queues and stacks to the log"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(Exit.USAGE, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None, *, run: "Callable[[Options], int] | None" = None) -> int:
    """Run the program; returns its exit code. `run` is what a daemon is run by, `daemon.process.main` by default."""
    parser = _parser()
    flags = parser.parse_args(argv)
    if flags.json and not (flags.check or flags.show_config or flags.explain_route):
        parser.error("--json goes with --check, --explain-route or --show-config")
    # What is made from here to READY stays, or the process ends soon: the collector would look for nothing.
    gc.disable()
    try:
        return _act(flags, run)
    except BrokenPipeError:
        # Whoever read the answer has seen enough; Python must not complain about it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OK
    finally:
        gc.enable()


def _act(flags: argparse.Namespace, run: "Callable[[Options], int] | None") -> int:
    from gatewayd.config.problems import ConfigRefused  # noqa: PLC0415

    try:
        options = _options(flags)
        if flags.check or flags.show_config or flags.explain_route:
            from gatewayd.daemon import answers  # noqa: PLC0415  # YAML: only for those who ask

            disk = SystemDisk()
            if flags.check:
                return _print(answers.check(options, disk, as_json=flags.json))
            if flags.show_config:
                return _print(answers.show_config(options, disk, as_json=flags.json))
            return _print(answers.explain_route(options, disk, *flags.explain_route, as_json=flags.json))
    except ConfigRefused as error:
        if flags.json:
            problems = [problem.as_dict() for problem in error.problems]
            return _print((json.dumps({"ok": False, "problems": problems}, indent=2), Exit.CONFIG))
        return _print(("\n".join(error.lines()), Exit.CONFIG))
    except PathUnusable as error:
        print(f"gatewayd: {error}", file=sys.stderr)
        return Exit.STATE
    from gatewayd.daemon import process  # noqa: PLC0415

    return (run or process.main)(options)


def _options(flags: argparse.Namespace) -> "Options":
    """Flags and environment as values; raises `ConfigRefused` when there is no configuration to be found."""
    from gatewayd.config.files import find_config  # noqa: PLC0415
    from gatewayd.daemon.options import Options  # noqa: PLC0415  # asyncio: not for --help

    environ = dict(os.environ)
    cwd = Path.cwd()
    config = find_config(flags.config, environ, cwd, os.path.lexists, required=flags.agents is None)
    named = flags.config or environ.get("GATEWAYD_CONFIG", "")
    if not named and config == cwd / "gateway.yaml":
        named = "gateway.yaml"
    return Options(
        paths=resolve_paths(environ),
        config=config,
        config_name=named,
        host=flags.host,
        port=flags.port,
        agents=cwd / flags.agents if flags.agents else None,
        detach=flags.daemon,
        pidfile=cwd / flags.pidfile if flags.pidfile else None,
        environ=environ,
    )


def _print(answer: tuple[str, Exit]) -> int:
    text, code = answer
    print(text, flush=True)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gatewayd",
        description="An always-on gateway between AI agents and the world.",
        epilog=EPILOG,
        formatter_class=partial(argparse.HelpFormatter, width=80),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config", metavar="FILE", help="configuration; default: $GATEWAYD_CONFIG, ./gateway.yaml, "
        "$XDG_CONFIG_HOME/gatewayd/gateway.yaml, /etc/gatewayd/gateway.yaml")  # fmt: skip
    add("--agents", metavar="FILE", help="a file with an agents: mapping that is merged in")
    add("--host", metavar="ADDRESS", help="listen here instead of gateway.host")
    add("--port", metavar="PORT", type=_port, help="listen here instead of gateway.port; 0: any free port")
    add("--daemon", action="store_true", help="go into the background once ready (for hosts without systemd)")
    add("--pidfile", metavar="PATH", help="write the daemon's pid there")
    question = parser.add_mutually_exclusive_group()
    question.add_argument("--check", action="store_true", help="say what is wrong with the configuration, and end")
    question.add_argument("--show-config", action="store_true",
        help="print the whole configuration with defaults, and where each value came from; secrets masked")  # fmt: skip
    question.add_argument("--explain-route", nargs=3, metavar=("CHANNEL", "CONTEXT", "PEER"),
        help="say which agent answers there, and by which rule; CONTEXT is dm, group or channel")  # fmt: skip
    add("--json", action="store_true", help="answer --check, --show-config or --explain-route in JSON")
    add("--version", action="version", version=f"gatewayd {__version__}")
    # Only now: each flag is tried with one, which asks for the terminal's width through modules for archives.
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)
