"""Single calls that wait for something: they end with the token that they were made with, and not when it comes.

A wait may last for minutes. Streams have owners that end them; these calls are ended here, and where what they wait for
is nothing that the gateway has still to do, they end when it stops.
"""

import asyncio
from types import TracebackType

from gatewayd.access.principals import LostProof, Principal
from gatewayd.core.errors import Draining, GatewayError


class Waits:
    """Of all doors. `with waits.of(principal): await …`."""

    def __init__(self) -> None:
        self._open: dict[str, set[Wait]] = {}
        self._draining = False

    def of(self, principal: Principal, *, for_work: bool = True) -> "Wait":
        """A wait of the calling task, which ends with the error of a `LostProof` when its token is among those.

        Unless it is for work that the gateway finishes before it stops, `Draining` is raised when it stops.
        """
        if self._draining and not for_work:
            raise _draining()
        return Wait(self._open, principal.token_sha256, for_work=for_work)

    def end_lost(self, lost: LostProof) -> None:
        """End those of these tokens."""
        for digest in lost.digests:
            for wait in tuple(self._open.get(digest, ())):
                wait.end(lost.error())

    def drain(self) -> None:
        """The gateway stops: end those that are for no work of it."""
        self._draining = True
        for same in tuple(self._open.values()):
            for wait in tuple(same):
                if not wait.for_work:
                    wait.end(_draining())


class Wait:
    """One of them; made by `Waits.of`."""

    __slots__ = ("_digest", "_error", "_execution_id", "_open", "_task", "for_work")

    def __init__(self, waits: dict[str, set["Wait"]], digest: str, *, for_work: bool) -> None:
        self.for_work = for_work
        self._open = waits
        self._digest = digest
        self._task: asyncio.Task[object] | None = None
        self._error: GatewayError | None = None
        self._execution_id = ""

    def goes_on(self, execution_id: str) -> None:
        """That is what it waits for: an error that ends it names it, so that the caller finds it again."""
        self._execution_id = execution_id

    def end(self, error: GatewayError) -> None:
        """Have it raise this."""
        if self._error is None and self._task is not None:
            self._error = error
            self._task.cancel()

    def __enter__(self) -> "Wait":
        self._task = asyncio.current_task()
        self._open.setdefault(self._digest, set()).add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        same = self._open[self._digest]
        same.discard(self)
        if not same:
            del self._open[self._digest]
        if self._error is None or self._task is None:
            return
        # What came in the same turn of the loop came too late, too. A cancellation of the call itself passes.
        if self._task.uncancel() == 0 and (kind is None or issubclass(kind, asyncio.CancelledError)):
            if self._execution_id:
                self._error.metadata["execution_id"] = self._execution_id
            raise self._error from None


def _draining() -> Draining:
    return Draining("the gateway is stopping: wait again", retry_after=2.0)
