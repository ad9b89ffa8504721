"""`gatewayctl config`: check a configuration, or show it with where each value came from. Needs no daemon."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gatewayctl.checker import code_of, config_option, gatewayd, said
from gatewayctl.failures import FAILED, USAGE, Failure
from gatewayctl.nouns import add_verb

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl


def arguments(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    check = add_verb(verbs, "check", common, check_, "check a configuration and print every problem of it")
    _file(check)
    show = add_verb(verbs, "show", common, show_, "show a configuration and where each value came from, secrets masked")
    _file(show)


def _file(parser: argparse.ArgumentParser) -> None:
    """Both verbs take the file as a word, like `cat`, and as `--config`, like gatewayd."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="the file (the one that gatewayd would find)")
    parser.add_argument("--config", metavar="FILE", help="the same")


def _path(args: argparse.Namespace) -> str | None:
    if args.file and args.config:
        raise Failure("the file is named twice: give FILE or --config FILE", USAGE)
    path: str | None = args.file or args.config
    return path


def check_(args: argparse.Namespace, ctl: Ctl) -> int:
    option = config_option(_path(args))
    if ctl.out.for_people:
        done = gatewayd("--check", *option)
        if done.stdout.strip():
            ctl.out.text(done.stdout.rstrip())
        for line in done.stderr.splitlines():
            ctl.out.note(line)
        return code_of(done)
    done = gatewayd("--check", "--json", *option)
    try:
        ctl.out.values(json.loads(done.stdout))
    except ValueError:
        raise Failure(said(done), code_of(done) or FAILED) from None
    return code_of(done)


def show_(args: argparse.Namespace, ctl: Ctl) -> int:
    words = ("--show-config", *config_option(_path(args)))
    done = gatewayd(*words) if ctl.out.for_people else gatewayd(*words, "--json")
    if done.returncode:
        raise Failure(said(done), code_of(done), done.stderr.splitlines()[:-1])
    if ctl.out.for_people:
        ctl.out.text(done.stdout.rstrip())
    else:
        ctl.out.values(json.loads(done.stdout))
    return code_of(done)
