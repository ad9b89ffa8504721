"""One connection to the daemon for one command: blocking calls, each with a deadline.

The stubs of a service import every message of it; a command names its method and its two messages instead, so that
`gatewayctl status` loads one generated module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import grpc

from gatewayctl.failures import Failure
from gatewayctl.tls import PLAIN, Tls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

    from gatewayctl.address import Address

    Request = TypeVar("Request", bound=Message)
    Answer = TypeVar("Answer", bound=Message)

PACKAGE = "gateway.v1"
MAX_MESSAGE = 64 << 20
OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # a proxy from the environment must not see the token (security.md, I1)
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
)


class Daemon:
    """The daemon at one address."""

    def __init__(self, address: Address, token: str | None, timeout: float, tls: Tls = PLAIN) -> None:
        self.address = address
        self.token = token
        self.timeout = timeout
        """Seconds for a call that names no deadline of its own."""
        if tls:
            self._channel = grpc.secure_channel(address.target, tls.credentials(), options=OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address.target, options=OPTIONS)

    def call(self, method: str, request: Request, answer: type[Answer], timeout: float | None = None) -> Answer:
        """`method` is `Service/Method`. Failure with the sentence and the exit code if it is refused."""
        return answer.FromString(self.call_bytes(method, request.SerializeToString(), timeout))

    def call_bytes(self, method: str, request: bytes, timeout: float | None = None) -> bytes:
        """The same for messages that are encoded already."""
        limit = self.timeout if timeout is None else timeout
        try:
            answer: bytes = self._channel.unary_unary(f"/{PACKAGE}.{method}", None, None)(
                request, timeout=limit, metadata=bearer(self.token)
            )
        except grpc.RpcError as error:
            raise self._failure(error, limit) from None
        return answer

    def pages(
        self, call: Callable[[str, int], tuple[list[Answer], str]], limit: int, page_size: int = 500
    ) -> Iterator[Answer]:
        """Up to `limit` items (0: all) of a list call, which gets page token and size and returns items and token."""
        token, left = "", limit
        while True:
            items, token = call(token, min(left, page_size) if left else page_size)
            yield from items[:left] if left else items
            left -= len(items)
            if not token or (limit and left <= 0):  # a page may be empty and have one after it
                return

    def close(self) -> None:
        self._channel.close()

    def _failure(self, error: grpc.RpcError, limit: float) -> Failure:
        from gatewayctl.refusal import failure_of  # noqa: PLC0415 - only a call that fails needs the error details

        return failure_of(error, self.address, limit, has_token=self.token is not None)


def bearer(token: str | None) -> tuple[tuple[str, str], ...]:
    """The metadata that carries the token."""
    return (("authorization", f"Bearer {token}"),) if token else ()
