"""Reads: a few threads, each with a connection of its own that sees what is committed and waits for nobody."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from gatewayd.core.errors import StoreFailed
from gatewayd.storage.sqlite.faults import verdict
from gatewayd.storage.sqlite.file import DatabaseFile

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 3
"""One may be busy with a long check, two serve."""


class Reader:
    """Owns the threads and their connections."""

    def __init__(self, file: DatabaseFile, failure: Callable[[], StoreFailed | None]) -> None:
        self._file = file
        self._failure = failure
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._executor: ThreadPoolExecutor | None = None

    def start(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="store-read")

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(connection, …)` in a thread. Errors of the database come out as `core.errors`."""
        if self._executor is None:
            raise StoreFailed("the store is closed")
        failure = self._failure()
        if failure is not None:
            raise StoreFailed(failure.message)

        def call() -> T:
            if self._executor is None:
                raise StoreFailed("the store is closed")
            try:
                return work(self._connection(), *args, **kwargs)
            except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
                raise verdict(error, self._file.path) from error

        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    async def stop(self) -> None:
        """Cut short what runs, and close the connections."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        for connection in self._connections:
            connection.interrupt()
        # What waits in line is not cancelled, which its caller would take for its own cancellation: it fails.
        await asyncio.to_thread(executor.shutdown)
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._file.reader()
            self._connections.append(connection)
        return connection
