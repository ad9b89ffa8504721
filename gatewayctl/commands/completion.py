"""`gatewayctl completion`: a script for the shell, made from the grammar itself, so that it cannot fall behind.

Nothing but the shell is needed at completion time: no Python is started for a press of the tab key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl

SHELLS = ("bash", "zsh", "fish")


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="where it shall work")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, ctl: Ctl) -> None:
    from gatewayctl import grammar  # noqa: PLC0415 - only here
    from gatewayctl.cli import build_parser  # noqa: PLC0415

    paths = grammar.walk(build_parser())
    scripts = {"bash": grammar.bash, "zsh": grammar.zsh, "fish": grammar.fish}
    ctl.out.stream.write(scripts[args.shell](paths))
