"""Single calls that wait for something: they end with the token that they were made with, and not when it comes.

A wait may last for minutes. Streams have owners that end them; these calls are ended here.
"""

import asyncio
from types import TracebackType

from gatewayd.access.principals import Principal
from gatewayd.core.errors import Unauthenticated


class Waits:
    """Of all doors. `with waits.of(principal): await …`."""

    def __init__(self) -> None:
        self._open: dict[str, set[Wait]] = {}

    def of(self, principal: Principal) -> "Wait":
        """A wait of the calling task; `Unauthenticated` is raised from it once the token is worth nothing."""
        return Wait(self._open, principal.token_sha256)

    def end_revoked(self, digests: frozenset[str]) -> None:
        """End those of these tokens."""
        for digest in digests:
            for wait in tuple(self._open.get(digest, ())):
                wait.end()


class Wait:
    """One of them; made by `Waits.of`."""

    __slots__ = ("_digest", "_ended", "_open", "_task")

    def __init__(self, waits: dict[str, set["Wait"]], digest: str) -> None:
        self._open = waits
        self._digest = digest
        self._task: asyncio.Task[object] | None = None
        self._ended = False

    def end(self) -> None:
        """The token is worth nothing any more."""
        if not self._ended and self._task is not None:
            self._ended = True
            self._task.cancel()

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._open.setdefault(self._digest, set()).add(self)

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        same = self._open[self._digest]
        same.discard(self)
        if not same:
            del self._open[self._digest]
        if not self._ended or self._task is None:
            return
        # What came in the same turn of the loop came too late, too. A cancellation of the call itself passes.
        if self._task.uncancel() == 0 and (kind is None or issubclass(kind, asyncio.CancelledError)):
            raise Unauthenticated("the token was revoked or has expired") from None
