"""A unit of the store's work, and the future that its caller gets."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, TypeVar

from gatewayd.core.errors import GatewayError, Internal
from gatewayd.core.event import Event
from gatewayd.core.value import record
from gatewayd.storage.sqlite.seen import Key
from gatewayd.storage.sqlite.tx import Tx

T = TypeVar("T")
_log = logging.getLogger("gatewayd.storage")


class Receipt(asyncio.Future[T]):
    """Resolves once the unit is on disk. Dropped, its failure goes to the store's log and nowhere else."""

    def __del__(self) -> None:
        # Set by asyncio while nobody has asked for the exception; its own __del__ would call the loop's handler.
        if self._log_traceback and not self.cancelled():
            error = self.exception()
            _log.warning("store_unit_failed_unheard", extra={"error": str(error)})


@record(slots=True)
class Unit:
    """One closed change. `apply` may run twice (a group is repeated when one of its units fails)."""

    apply: Callable[[Tx], Any]
    receipt: Receipt[Any]
    size: int
    """Bytes that it holds while it waits, roughly."""
    streams: Sequence[str] = ()
    """Stream ids of its events, one entry each."""
    keys: Sequence[Key] = ()
    """Seen ids that it will ask for."""
    result: Any = None
    error: BaseException | None = None
    events: list[Event] = field(default_factory=list)

    def reset(self) -> None:
        self.result, self.error = None, None
        self.events = []

    def not_written(self) -> list[str]:
        """Stream ids of the announced events that are not among the written ones."""
        rest = list(self.streams)
        for event in self.events:
            rest.remove(event.stream_id)
        return rest

    def settle(self) -> None:
        """Tell the caller; on the loop. What is no verdict is a defect: it goes to the log with its traceback."""
        if self.receipt.done():
            return
        error = self.error
        if error is None:
            self.receipt.set_result(self.result)
            return
        if not isinstance(error, GatewayError):
            _log.error("store_unit_failed", exc_info=error)
            cause, error = error, Internal(f"the store could not apply a change: {type(error).__name__}")
            error.__cause__ = cause
        self.receipt.set_exception(error)
