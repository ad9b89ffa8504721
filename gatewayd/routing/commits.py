"""What goes on without whoever asked for it: from the commit of a unit to what follows from it.

A client may leave and a channel reconnect while a unit is on its way to the disk. The unit is written all the same, so
what belongs to it is done too: the work begins, the row is sent, or the session of a repeat is forgotten again.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from gatewayd.core.errors import Draining, GatewayError
from gatewayd.core.failpoints import Failpoints
from gatewayd.core.value import value
from gatewayd.runtime.live import LiveExecution
from gatewayd.service import TaskSet
from gatewayd.sessions import Opened, SessionManager
from gatewayd.storage.base import Store
from gatewayd.storage.records import Acceptance, Accepted

_T = TypeVar("_T")


@value(frozen=True, slots=True)
class Submitted:
    """What became of a send. `live` is None when the first send of that idempotency key has ended already."""

    accepted: Accepted
    live: LiveExecution | None


class Commits:
    """As many as the doors let in at a time. A unit needs no task, only what has to be undone does."""

    def __init__(self, store: Store, sessions: SessionManager, failpoints: Failpoints) -> None:
        self._store = store
        self._sessions = sessions
        self._failpoints = failpoints
        self._tasks = TaskSet("router")
        self._writing: dict[asyncio.Future[Accepted], asyncio.Future[Any]] = {}
        """Units on their way to the disk, each with what its caller waits for."""
        self._closed = False

    async def accept(
        self,
        acceptance: Acceptance,
        go_on: Callable[[], _T],
        opened: Opened | None = None,
        *,
        reserve: Callable[[], Callable[[], None]] | None = None,
    ) -> tuple[Accepted, _T | None]:
        """Write the unit, then go on with it, unless it repeats one that is known.

        A new session whose message was not taken in has never been. `reserve` keeps room for what goes on, or raises;
        what it returns gives the room back.
        """
        self._check_open()
        try:
            release = reserve() if reserve is not None else _nothing
        except GatewayError:
            await self._undo(opened)
            raise
        receipt = self._store.accept(acceptance)  # here: units take effect in the order in which they came
        told: asyncio.Future[tuple[Accepted, _T | None]] = asyncio.get_running_loop().create_future()
        self._writing[receipt] = told

        def written(_: object) -> None:
            release()
            if self._writing.pop(receipt, None) is not None:  # else the time of the router's end is over
                self._written(receipt, told, go_on, opened)

        receipt.add_done_callback(written)
        return await told

    async def carry(self, work: Coroutine[Any, Any, _T], *, name: str) -> _T:
        """Do it to its end, even if the caller is cut off while it waits here."""
        try:
            self._check_open()
        except Draining:
            work.close()
            raise
        result: _T | GatewayError = await asyncio.shield(self._tasks.start(_verdict(work), name=name))
        if isinstance(result, GatewayError):
            raise result
        return result

    async def close(self) -> None:
        """End what still waits for the store once the caller's deadline is over; nothing more is carried out."""
        self._closed = True
        try:
            while self._writing or self._tasks:
                if self._writing:
                    await asyncio.wait(self._writing)
                await self._tasks.wait()
        finally:
            for told in self._writing.values():
                told.cancel()
            self._writing.clear()
            await self._tasks.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Draining("the gateway is stopping and takes no new work", retry_after=2.0)

    def _written(
        self,
        receipt: asyncio.Future[Accepted],
        told: "asyncio.Future[tuple[Accepted, _T | None]]",
        go_on: Callable[[], _T],
        opened: Opened | None,
    ) -> None:
        """The unit is on disk, or will never be. Whoever waited for it may have been cut off."""
        error = receipt.exception()
        if error is None and not receipt.result().duplicate:
            try:
                self._failpoints.hit("router.after_accept")
                result = go_on()
            except Exception as defect:  # the boundary of what goes on: its caller hears of it, or else the loop
                if told.done():
                    raise
                told.set_exception(defect)
            else:
                if not told.done():
                    told.set_result((receipt.result(), result))
        elif opened is not None and opened.is_new:
            self._tasks.start(self._take_back(receipt, told, opened), name="undo")
        else:
            _settle(receipt, told)

    async def _take_back(
        self, receipt: asyncio.Future[Accepted], told: "asyncio.Future[tuple[Accepted, _T | None]]", opened: Opened
    ) -> None:
        try:
            await self._undo(opened)
        finally:
            _settle(receipt, told)

    async def _undo(self, opened: Opened | None) -> None:
        if opened is not None:
            with suppress(GatewayError):
                await self._sessions.undo(opened)


def _nothing() -> None:
    """No room was kept."""


def _settle(receipt: asyncio.Future[Accepted], told: "asyncio.Future[tuple[Accepted, _T | None]]") -> None:
    """Nothing goes on: tell of the error, or of the first unit of that kind."""
    if told.done():
        return
    error = receipt.exception()
    if error is not None:
        told.set_exception(error)
    else:
        told.set_result((receipt.result(), None))


async def _verdict(work: Coroutine[Any, Any, _T]) -> _T | GatewayError:
    """A verdict is the caller's to hear, and no failure of the task."""
    try:
        return await work
    except GatewayError as error:
        return error
