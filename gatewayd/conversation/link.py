"""What a conversation needs of a transport."""

from collections.abc import Awaitable
from typing import Any, Protocol


class Link(Protocol):
    """One connected client, as a conversation needs it: frames are the bytes of `gateway.v1`'s messages.

    What a transport calls its end and its loss is taken as it is: a coroutine around each frame would cost a thirtieth
    of it.
    """

    end: object
    """What `read` gives once the client has ended the stream in order."""
    gone: type[Exception]
    """What `read` and `write` raise when the client is gone."""

    def read(self) -> Awaitable[Any]:
        """The next frame, or `end`.

        Raises `InvalidArgument` for a request that is to be rejected (`metadata['request_id']`), any other
        `GatewayError` for what ends the stream, and `gone`.
        """
        ...

    def write(self, data: bytes) -> Awaitable[None]:
        """Send one frame; waits while the client does not read. Raises `gone`."""
        ...
