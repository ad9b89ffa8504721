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
        "--limit", type=int, default=default, metavar="N", help=f"at most so many, 0 for all ({DEFAULT_LIMIT})"
    )


def listed(
    ctl: Ctl, method: str, make: Callable[[str, int], Message], answer: type[Answer], field: str, *, limit: int = 0
) -> list[dict[str, Any]]:
    """Everything that a list call gives, page by page, as plain values. `make` builds the request of a page."""

    def page(token: str, size: int) -> tuple[list[Message], str]:
        got: Any = ctl.daemon.call(method, make(token, size), answer)
        return list(getattr(got, field)), got.next_page_token

    return [plain(each) for each in ctl.daemon.pages(page, max(0, limit))]


def json_object(text: str, what: str) -> dict[str, Any]:
    """The JSON object of an argument, which is called `what`. Failure if it is none."""
    import json  # noqa: PLC0415 - few verbs take any

    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failure(f"{what} is no JSON: {error}", USAGE) from None
    if not isinstance(data, dict):
        raise Failure(f'{what} must be a JSON object, such as \'{{"content": "hello"}}\'', USAGE)
    return data
