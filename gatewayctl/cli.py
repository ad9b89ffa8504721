"""The command `gatewayctl`: reads the command line, runs one verb, turns every failure into a sentence and a code.

Exit codes: 0 ok, 1 refused or failed, 2 usage, 3 not running, 4 unknown, 5 unauthorized; of `status --deep` also
6 degraded, 7 broken; 130 after Ctrl-C.
Imports what one verb needs and nothing else: a cold `gatewayctl status` must cost little more than importing grpc.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from gatewayctl import __version__
from gatewayctl.failures import FAILED, INTERRUPTED, OK, UNAUTHORIZED, USAGE, Failure
from gatewayctl.output import FORMS, Output
from gatewayctl.verbs import VERBS, module_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gatewayctl.address import Address
    from gatewayctl.rpc import Daemon
    from gatewayctl.tls import Tls

DEFAULT_TIMEOUT = 10.0
"""Seconds for a call, unless `--timeout` says otherwise or the verb knows better."""


class Ctl:
    """What a verb works with."""

    def __init__(self, args: argparse.Namespace, env: Mapping[str, str]) -> None:
        self.env = env
        self.out = Output(args.output)
        self.timeout: float | None = args.timeout
        self._args = args
        self._daemon: Daemon | None = None

    def target(self) -> tuple[Address, str | None]:
        """Where the daemon is, and the token for it."""
        from gatewayctl.address import find_address  # noqa: PLC0415 - offline verbs need none
        from gatewayctl.credentials import find_token  # noqa: PLC0415

        address = find_address(self._args.address, self.env)
        return address, find_token(address, self._args.token_file, self.env, encrypted=bool(self.tls(address)))

    def tls(self, address: Address) -> Tls:
        """How the way to it is protected."""
        from gatewayctl.tls import find_tls  # noqa: PLC0415

        return find_tls(address, self._args.ca, self._args.client_cert, self._args.client_key, self.env)

    @property
    def daemon(self) -> Daemon:
        """The daemon, connected at the first call."""
        if self._daemon is None:
            address, token = self.target()
            from gatewayctl.rpc import Daemon  # noqa: PLC0415

            self._daemon = Daemon(address, token, self.timeout or DEFAULT_TIMEOUT, self.tls(address))
        return self._daemon

    def unused_token(self) -> str:
        """What to say of a token in the environment that was not sent; empty if there is none, or it was."""
        from gatewayctl.credentials import unused_token  # noqa: PLC0415

        return "" if self._args.token_file else unused_token(self.target()[0], self.env)

    def new_id(self) -> str:
        """An idempotency key of the command's own, for what it may have to ask for again."""
        from gatewayctl.sdk.pace import Ids  # noqa: PLC0415
        from gatewayctl.system import SystemChance, SystemClock  # noqa: PLC0415

        return Ids(SystemClock(), SystemChance()).new()

    def close(self) -> None:
        if self._daemon is not None:
            self._daemon.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Without `argv` it is the process's own command, and the process ends here."""
    if argv is not None:
        return command(list(argv))
    code = command(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or FAILED
    # Answered, flushed and closed: taking the interpreter apart would cost a sixth of the whole command.
    os._exit(code)


def command(words: list[str]) -> int:
    """One command, from words to exit code."""
    try:
        _check_text(words)
        args = build_parser(words).parse_args(words)
        return _run(args)
    except Failure as failure:
        return _tell(failure)
    except SystemExit as end:  # argparse has said what is wrong
        return end.code if isinstance(end.code, int) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `gatewayctl events | head`: nobody reads on, which is no fault
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return OK
    except UnicodeDecodeError:
        return _tell(Failure("standard input is not text in UTF-8"))
    except OSError as error:
        return _tell(Failure(error.strerror or str(error)))
    except Exception as error:  # the boundary: an operator gets a sentence, never a traceback
        if os.environ.get("GATEWAYCTL_DEBUG"):
            raise
        return _tell(
            Failure(f"a defect of gatewayctl: {type(error).__name__}: {error} (GATEWAYCTL_DEBUG=1 shows where)")
        )


def _check_text(words: list[str]) -> None:
    """What is not UTF-8 comes as halves of surrogate pairs, and goes into no message."""
    for place, word in enumerate(words, 1):
        try:
            word.encode()
        except UnicodeEncodeError:
            raise Failure(f"word {place} of the command is not text in UTF-8", USAGE) from None


def _run(args: argparse.Namespace) -> int:
    ctl = Ctl(args, os.environ)
    try:
        code: int | None = args.run(args, ctl)
    except Failure as failure:
        if failure.code == UNAUTHORIZED and (line := ctl.unused_token()):
            raise Failure(failure.message, failure.code, [*failure.lines, line]) from None
        raise
    finally:
        ctl.close()
    sys.stdout.flush()
    return code or OK


def _tell(failure: Failure) -> int:
    out = Output()
    sys.stdout.flush()
    out.note(f"gatewayctl: {failure.message}")
    for line in failure.lines:
        out.note(line)
    return failure.code


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The whole grammar; only that of one verb if `words` begin with it."""
    from importlib import import_module  # noqa: PLC0415

    common = _common()
    parser = _Parser(
        prog="gatewayctl",
        description="Sees and steers a running gatewayd.",
        parents=[_common(top=True)],
        epilog="Exit codes: 0 ok, 1 refused or failed, 2 usage, 3 not running, 4 unknown, 5 unauthorized; "
        "of status --deep also 6 degraded, 7 broken.",
    )
    parser.add_argument("--version", action="version", version=f"gatewayctl {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for verb in words[:1] if words and words[0] in VERBS else VERBS:
        child = verbs.add_parser(verb, help=VERBS[verb], description=VERBS[verb].capitalize() + ".", parents=[common])
        import_module(module_of(verb)).arguments(child, common)
    return parser


class _Parser(argparse.ArgumentParser):
    """No abbreviations: a script that uses one breaks when an option is added."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options, allow_abbrev=False)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        raise Failure(message, USAGE, [f"see {self.prog} --help"])

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Words left over are refused by the verb that got them, so that its own --help is named."""
        values, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return values, rest


def _common(*, top: bool = False) -> _Parser:
    """The options that every command has; they may stand before and after the verb."""
    common = _Parser(add_help=False)
    group = common.add_argument_group("connection and output")

    def add(*names: str, default: object = None, **how: object) -> None:
        group.add_argument(*names, default=default if top else argparse.SUPPRESS, **how)  # type: ignore[arg-type]

    add("-o", "--output", choices=FORMS, default="table", help="form of the answer (table)")
    add(
        "--address",
        metavar="ADDRESS",
        help="unix:PATH or HOST:PORT ($GATEWAYD_ADDRESS, else the socket, else the port)",
    )
    add("--token-file", metavar="FILE", help="0600 file with ADDRESS TOKEN lines, or one token for --address")
    add("--ca", metavar="FILE", help="speak TLS, and trust these authorities; `system`: the usual ($GATEWAYCTL_CA)")
    add("--client-cert", metavar="FILE", help="certificate to show to a daemon that asks for one ($GATEWAYCTL_CERT)")
    add("--client-key", metavar="FILE", help="the key of --client-cert ($GATEWAYCTL_KEY)")
    add("--timeout", metavar="SECONDS", type=_seconds, help="how long to wait for the daemon (10)")
    return common


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to 86400")
    return value


if __name__ == "__main__":
    sys.exit(main())
