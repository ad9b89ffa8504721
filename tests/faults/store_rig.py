"""What the store's fault tests share: a child that is killed, and connections that fail on demand."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gatewayd.testing.store_cases.sqlite import SQLiteHarness

Make = Callable[..., Awaitable[SQLiteHarness]]


@asynccontextmanager
async def stores(default: Path) -> AsyncIterator[Make]:
    """Opens stores, and closes what is still open at the end."""
    made: list[SQLiteHarness] = []

    async def make_one(path: Path = default, **options: Any) -> SQLiteHarness:
        harness = SQLiteHarness(path, **options)
        await harness.store.open()
        made.append(harness)
        return harness

    yield make_one
    for harness in made:
        await harness.store.close()


_CHILD = """
import asyncio, sys
from pathlib import Path
from gatewayd.testing.store_cases.samples import acceptance, finish, published
from gatewayd.testing.store_cases.sqlite import SQLiteHarness

async def publish(store, who):
    for number in range(100_000):
        (event,) = await store.append(published(f"{who}-{number}"), scope="ann")
        print("event", event.seq, event.id, flush=True)

async def answer(store):
    for number in range(1, 100_000):
        await store.accept(acceptance(number))
        print("accepted", number, flush=True)
        await store.finish(finish(number))
        print("finished", number, flush=True)

async def main():
    harness = SQLiteHarness(Path(sys.argv[1]))
    await harness.store.open()
    await asyncio.gather(*(publish(harness.store, who) for who in "abcdefgh"), answer(harness.store))

asyncio.run(main())
"""


def kill_after(path: Path, lines: int) -> list[list[str]]:
    """Run the child until it has said that much, kill it, and return all that it said."""
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    said += child.stdout.readlines()
    child.stdout.close()
    child.wait()
    # The kill may cut the last line in two: what it told was not told.
    return [line.split() for line in said if line.endswith("\n")]


class _FailingConnection(sqlite3.Connection):
    """Fails at the statements that a test names."""

    failing: dict[str, tuple[int, str]]

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        code, name = self.failing.get(sql.split("(", maxsplit=1)[0], (0, ""))
        if code:
            error = sqlite3.OperationalError(f"injected {name}")
            error.sqlite_errorcode, error.sqlite_errorname = code, name
            raise error
        return super().execute(sql, *parameters)


def failing_connect() -> tuple[Callable[..., sqlite3.Connection], dict[str, tuple[int, str]]]:
    """A connection factory, and what its connections fail at: statement → SQLite's code and its name."""
    failing: dict[str, tuple[int, str]] = {}

    def connect(path: Path, **options: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(path, factory=_FailingConnection, **options)
        connection.failing = failing
        return connection

    return connect, failing
