"""One group of units as one transaction: begin, apply each, commit (which is the fsync).

A unit that is refused before it has written anything costs nothing. When one fails after it has written, the
transaction is rolled back and the group is run again with a savepoint around each unit: failures of that kind are
rare, and a savepoint around every unit of every group is not free.
"""

import sqlite3
from collections.abc import Callable, Sequence

from gatewayd.core.event import Event
from gatewayd.core.failpoints import Failpoints
from gatewayd.storage.sqlite.faults import bare
from gatewayd.storage.sqlite.tx import Books, Tx
from gatewayd.storage.sqlite.unit import Unit


class _WroteThenFailed(Exception):
    """A unit of a group without savepoints has to be undone."""


def run_group(
    connection: sqlite3.Connection,
    units: Sequence[Unit],
    books: Books,
    encode: Callable[[Event], bytes],
    failpoints: Failpoints,
) -> tuple[Books, bool]:
    """Run and commit the units; each then has its result or its own error.

    Returns the new books and whether the log's beginning moved. Raises when nothing was committed.
    """
    tx = Tx(connection, books, encode)
    connection.execute("BEGIN IMMEDIATE")
    try:
        try:
            _apply(connection, tx, units, savepoints=False)
        except _WroteThenFailed:
            connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            tx = Tx(connection, books, encode)
            _apply(connection, tx, units, savepoints=True)
        tx.flush()
        new_books = tx.flush_totals()
        failpoints.hit("store.before_commit")
        connection.execute("COMMIT")
    except BaseException:
        rollback(connection)
        raise
    return new_books, tx.swept


def rollback(connection: sqlite3.Connection) -> None:
    """Roll back what is open. SQLite has done so by itself after some errors; a second failure adds nothing."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return


def _apply(connection: sqlite3.Connection, tx: Tx, units: Sequence[Unit], *, savepoints: bool) -> None:
    keys = [key for unit in units for key in unit.keys]
    if keys:
        tx.load_seen(keys)
    for unit in units:
        unit.reset()
        if unit.alone:
            tx.flush()
        if savepoints:
            connection.execute("SAVEPOINT unit")
        changes = connection.total_changes
        mark = tx.mark()
        try:
            unit.result = unit.apply(tx)
        except Exception as error:
            # An error of the database itself concerns everything that waits for this commit.
            if bare(error):
                raise
            unit.error = error
            tx.undo(mark)
            if savepoints:
                connection.execute("ROLLBACK TO unit")
            elif connection.total_changes != changes:
                raise _WroteThenFailed from error
        else:
            unit.events = tx.committed[mark.committed :]
        if savepoints:
            connection.execute("RELEASE unit")
