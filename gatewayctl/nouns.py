"""What the files of nouns with several verbs share: `sessions` alone means `sessions list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from gatewayctl.failures import USAGE, Failure
from gatewayctl.plain import plain

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from google.protobuf.message import Message

    from gatewayctl.cli import Ctl

    Answer = TypeVar("Answer", bound=Message)

DEFAULT_LIMIT = 100


def add_verb(
    verbs: argparse._SubParsersAction[Any],
    name: str,
    common: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace, Ctl], int | None],
    help: str,  # noqa: A002 - argparse's word
) -> argparse.ArgumentParser:
    """A verb of a noun."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=help, description=help[0].upper() + help[1:] + ".", parents=[common]
    )
    parser.set_defaults(run=run)
    return parser


def add_limit(parser: argparse.ArgumentParser, *, default: object = DEFAULT_LIMIT) -> None:
    """How many to list."""
    parser.add_argument(
        "--limit", type=_count, default=default, metavar="N", help=f"at most so many, 0 for all ({DEFAULT_LIMIT})"
    )


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        import argparse  # noqa: PLC0415 - the parser that asks has it

        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return number


def listed(
    ctl: Ctl, method: str, make: Callable[[str, int], Message], answer: type[Answer], field: str, *, limit: int = 0
) -> list[dict[str, Any]]:
    """What a list call gives, page by page, as plain values; at most `limit` if that is not 0, and a note if that has
    left something out. `make` builds the request of a page."""

    def page(token: str, size: int) -> tuple[list[Message], str]:
        got: Any = ctl.daemon.call(method, make(token, size), answer)
        return list(getattr(got, field)), got.next_page_token

    found = list(ctl.daemon.pages(page, limit + 1 if limit else 0))
    if limit and len(found) > limit:
        del found[limit:]
        ctl.out.note(f"there are more than these {limit}: --limit 0 lists all")
    return [plain(each) for each in found]


def json_object(text: str, what: str) -> dict[str, Any]:
    """The JSON object of an argument, which is called `what`. Failure if it is none."""
    data = json_value(text, what)
    if not isinstance(data, dict):
        raise Failure(f'{what} must be a JSON object, such as \'{{"content": "hello"}}\'', USAGE)
    return data


def json_value(text: str, what: str) -> Any:
    """The JSON of an argument. Failure if it is none, or if it would not arrive as it was typed."""
    import json  # noqa: PLC0415 - few verbs take any

    from gatewayctl.sdk.objects import TOO_DEEP, is_too_deep  # noqa: PLC0415

    def whole(digits: str) -> int:
        number = int(digits)
        try:
            exact = int(float(number)) == number
        except OverflowError:
            exact = False
        if not exact:
            raise Failure(
                f'{what} has a number with more digits than would arrive, {digits}: write it as a text, "{digits}"',
                USAGE,
            )
        return number

    try:
        data = json.loads(text, parse_int=whole)
    except RecursionError:
        raise Failure(f"{what}: {TOO_DEEP}", USAGE) from None
    except ValueError as error:
        raise Failure(f"{what} is no JSON: {error}", USAGE) from None
    if is_too_deep(data):
        raise Failure(f"{what}: {TOO_DEEP}", USAGE)
    return data
