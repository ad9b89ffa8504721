"""The one writer: a bounded queue, a thread that commits groups from it, and the way back to the event loop.

Everything public is called on the loop; what begins with `_thread` runs in the thread. The two share the queue and
nothing else: the thread hands back what became of a group in one call.
"""

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from gatewayd.core.errors import GatewayError, StoreBusy, StoreCorrupt, StoreFailed, StoreFull
from gatewayd.core.event import Event
from gatewayd.core.failpoints import Failpoints
from gatewayd.storage.base import EventSink
from gatewayd.storage.records import StoreHealth
from gatewayd.storage.sqlite.faults import BUSY_RETRY, verdict
from gatewayd.storage.sqlite.file import DatabaseFile
from gatewayd.storage.sqlite.gather import Gathering
from gatewayd.storage.sqlite.group import run_group
from gatewayd.storage.sqlite.notes import Notes
from gatewayd.storage.sqlite.seen import Key
from gatewayd.storage.sqlite.tx import Books, Live, Tx
from gatewayd.storage.sqlite.unit import Receipt, Unit

T = TypeVar("T")
GROUP_UNITS = 512
"""Units in one group at most: what one failed commit can refuse, and what the first of them waits for."""
GROUP_BYTES = 8 << 20
UNIT_BYTES = 512
"""What a unit holds beside its content, roughly."""

_log = logging.getLogger("gatewayd.storage")


class Writer:
    """Owns the writing connection's thread. Made by the store; `run` first opens the connection in it."""

    def __init__(
        self,
        file: DatabaseFile,
        *,
        sink: EventSink,
        encode: Callable[[Event], bytes],
        failpoints: Failpoints,
        on_failed: Callable[[StoreFailed], None],
        queue_limit: int,
        queue_bytes: int,
    ) -> None:
        self.health = StoreHealth.CLOSED
        self.first_seq = 0
        self.last_seq = 0
        self.failure: StoreFailed | None = None
        self._file = file
        self._sink = sink
        self._encode = encode
        self._failpoints = failpoints
        self._on_failed = on_failed
        self._queue_limit = queue_limit
        self._queue_bytes = queue_bytes
        self._waiting = 0
        self._waiting_bytes = 0
        self._queue: SimpleQueue[list[Unit] | None] = SimpleQueue()
        self._gathering = Gathering(self._queue.put)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._thread_first = 0
        self._thread_waiting: deque[Unit] = deque()
        self._thread_closing = False
        self._thread_failure: GatewayError | None = None
        self._ended: asyncio.Future[None] | None = None

    async def start(self, connection: sqlite3.Connection, books: Books, first_seq: int) -> None:
        """Take over the connection (opened with `check_same_thread=False`) and begin to write."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self.first_seq, self.last_seq = first_seq, books.last_seq
        self._thread_first = first_seq
        self.health = StoreHealth.OK
        self._thread = threading.Thread(
            target=self._thread_main, args=(connection, books), name="store-writer", daemon=True
        )
        self._thread.start()

    async def stop(self) -> None:
        """Write what was submitted and end the thread; the connection is the caller's again."""
        if self._ended is None:
            return
        if self.health is not StoreHealth.FAILED:
            self.health = StoreHealth.CLOSED
        self._gathering.hand_over()
        self._queue.put(None)
        await self._ended
        self._ended = None

    def submit(
        self,
        apply: Callable[[Tx], T],
        *,
        streams: Sequence[str] = (),
        keys: Sequence[Key] = (),
        size: int = 0,
        patient: bool = False,
    ) -> Receipt[T]:
        """Queue a unit; the receipt fails at once when the store cannot take it.

        A `patient` one holds nobody up and goes with the next that is not: a commit for it alone would be one that the
        next has to wait for.
        """
        receipt: Receipt[T] = Receipt(loop=self._loop)
        refusal = self._refusal()
        if refusal is not None:
            receipt.set_exception(refusal)
            return receipt
        size += UNIT_BYTES
        self._waiting += 1
        self._waiting_bytes += size
        if streams:
            self._sink.expected(streams)
        assert self._loop is not None
        self._gathering.add(Unit(apply, receipt, size, streams, keys), self._loop, patient=patient)
        return receipt

    def note(self, event: Event) -> None:
        """Write an event that nobody waits for: patiently, and in one unit with those right before it."""
        unit, size = self._gathering.last, len(event.wire)
        notes = unit.apply if unit is not None else None
        if unit is None or not isinstance(notes, Notes) or self._refusal() is not None or not notes.add(event):
            notes = Notes(event)
            self.submit(notes, streams=notes.streams, size=size, patient=True)
            return
        unit.size += size + UNIT_BYTES
        self._waiting_bytes += size + UNIT_BYTES
        self._sink.expected((event.stream_id,))

    def fail(self, failure: StoreFailed) -> None:
        """The store cannot promise durability any more: refuse everything from now on and say so, once."""
        if self.failure is not None:
            return
        self.failure = failure
        self.health = StoreHealth.FAILED
        _log.error("store_failed", extra={"error": failure.message})
        self._on_failed(failure)

    def _refusal(self) -> GatewayError | None:
        if self.failure is not None:
            return StoreFailed(self.failure.message)
        if self.health is StoreHealth.CLOSED:
            return StoreFailed("the store is closed")
        if self._waiting >= self._queue_limit or self._waiting_bytes >= self._queue_bytes:
            return StoreBusy(f"{self._waiting} units wait to be written", retry_after=BUSY_RETRY)
        return None

    # The way back, on the loop

    def _resolve(
        self, units: Sequence[Unit], ends: tuple[int, int] | None, error: BaseException | None, erased: bool = False
    ) -> None:
        if ends is not None:
            self.first_seq, self.last_seq = ends
        self._note_health(error)
        ready: list[Event] = []
        for unit in units:
            self._waiting -= 1
            self._waiting_bytes -= unit.size
            if len(unit.streams) == len(unit.events):
                ready.extend(unit.events)
                continue
            # The rest was refused, or was in the log before.
            if ready:
                self._sink.committed(ready)
                ready = []
            if unit.events:
                self._sink.committed(unit.events)
            self._sink.abandoned(unit.not_written())
        if ready:
            self._sink.committed(ready)
        if erased:  # told last: what the same group had brought before may be what was erased
            self._sink.erased()
        for unit in units:
            unit.settle()

    def _note_health(self, error: BaseException | None) -> None:
        if self.failure is not None:
            return
        if isinstance(error, StoreFull):
            if self.health is StoreHealth.OK:
                self.health = StoreHealth.FULL
                _log.error("store_full", extra={"error": error.message})
        elif isinstance(error, StoreBusy):
            _log.warning("store_busy", extra={"error": error.message})
        elif isinstance(error, GatewayError):
            self.fail(error if isinstance(error, StoreFailed) else StoreFailed(error.message))
        elif self.health is StoreHealth.FULL:
            self.health = StoreHealth.OK
            _log.info("store_space_returned")

    # The thread

    def _thread_main(self, connection: sqlite3.Connection, books: Books) -> None:
        live = Live()
        while (units := self._thread_take()) is not None:
            books = self._thread_group(connection, units, books, live)
            # Not held while the thread waits: a dropped receipt is noticed when it is let go.
            del units
        self._thread_call(self._end)

    def _thread_group(self, connection: sqlite3.Connection, units: list[Unit], books: Books, live: Live) -> Books:
        """Commit a group and report it; the books as they are after it."""
        found = self._thread_failure
        new_books = books
        if found is None:
            try:
                new_books, tx = run_group(
                    connection, units, books, live, encode=self._encode, failpoints=self._failpoints
                )
            # Named boundary: every caller must hear what became of its unit, whatever happened.
            except BaseException as error:
                found = self._thread_judge(error)
            else:
                found = self._thread_finish(connection, units, new_books, tx)
        if found is not None:
            if isinstance(found, StoreFailed | StoreCorrupt):
                self._thread_failure = found
            for unit in units:
                unit.reset()
                unit.error = type(found)(found.message, retry_after=found.retry_after)
            self._thread_call(self._resolve, units, None, found)
        return new_books

    def _thread_finish(
        self, connection: sqlite3.Connection, units: list[Unit], books: Books, tx: Tx
    ) -> GatewayError | None:
        """After the commit: only when all is in order is the group acknowledged."""
        try:
            self._failpoints.hit("store.after_commit")
            self._file.check_in_place()
            self._file.written(connection, erased=tx.erased)
            if tx.swept or not self._thread_first:
                self._thread_first = self._file.first_seq(connection) or books.last_seq + bool(books.last_seq)
        except BaseException as error:
            # Committed and not acknowledged: what callers believe and what is on disk part ways here.
            found = self._thread_judge(error)
            return found if isinstance(found, StoreFailed) else StoreFailed(found.message)
        self._thread_call(self._resolve, units, (self._thread_first, books.last_seq), None, tx.erased)
        return None

    def _thread_judge(self, error: BaseException) -> GatewayError:
        found = verdict(error, self._file.path)
        if isinstance(found, StoreFailed) and not isinstance(error, sqlite3.Error | GatewayError | OSError):
            _log.error("store_writer_defect", exc_info=error)
        return found

    def _thread_take(self) -> list[Unit] | None:
        """The next group, or None at the end: what waits now, in order, up to the group's bounds."""
        waiting = self._thread_waiting
        block = not waiting
        while not self._thread_closing:
            try:
                units = self._queue.get(block=block)
            except Empty:
                break
            block = False
            if units is None:
                self._thread_closing = True
            else:
                waiting.extend(units)
        group: list[Unit] = []
        size = 0
        while waiting and len(group) < GROUP_UNITS and size < GROUP_BYTES:
            size += waiting[0].size
            group.append(waiting.popleft())
        return group or None

    def _thread_call(self, callback: Callable[..., None], *arguments: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            # The loop was closed with the store open: nobody is left to tell.
            _log.warning("store_loop_gone")

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
