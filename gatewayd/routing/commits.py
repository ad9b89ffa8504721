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
    """Each in a task of its own; as many as the doors let in at a time."""

    def __init__(self, store: Store, sessions: SessionManager, failpoints: Failpoints) -> None:
        self._store = store
        self._sessions = sessions
        self._failpoints = failpoints
        self._tasks = TaskSet("router")
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
        try:
            release = reserve() if reserve is not None else None
        except GatewayError:
            await self._undo(opened)
            raise
        receipt = self._store.accept(acceptance)  # here: units take effect in the order in which they came
        return await self.carry(self._accept(receipt, go_on, opened, release), name="accept")

    async def carry(self, work: Coroutine[Any, Any, _T], *, name: str) -> _T:
        """Do it to its end, even if the caller is cut off while it waits here."""
        if self._closed:
            work.close()
            raise Draining("the gateway is stopping and takes no new work", retry_after=2.0)
        result: _T | GatewayError = await asyncio.shield(self._tasks.start(_verdict(work), name=name))
        if isinstance(result, GatewayError):
            raise result
        return result

    async def close(self) -> None:
        """End what still waits for the store once the caller's deadline is over; nothing more is carried out."""
        self._closed = True
        try:
            await self._tasks.wait()
        finally:
            await self._tasks.close()

    async def _accept(
        self,
        receipt: asyncio.Future[Accepted],
        go_on: Callable[[], _T],
        opened: Opened | None,
        release: Callable[[], None] | None,
    ) -> tuple[Accepted, _T | None]:
        try:
            accepted = await asyncio.shield(receipt)
        except GatewayError:
            await self._undo(opened)
            raise
        finally:
            if release is not None:
                release()
        if accepted.duplicate:
            await self._undo(opened)
            return accepted, None
        self._failpoints.hit("router.after_accept")
        return accepted, go_on()

    async def _undo(self, opened: Opened | None) -> None:
        if opened is not None:
            with suppress(GatewayError):
                await self._sessions.undo(opened)


async def _verdict(work: Coroutine[Any, Any, _T]) -> _T | GatewayError:
    """A verdict is the caller's to hear, and no failure of the task."""
    try:
        return await work
    except GatewayError as error:
        return error
