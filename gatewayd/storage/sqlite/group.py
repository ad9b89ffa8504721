"""One group of units as one transaction: begin, apply each, commit (which is the fsync).

A unit that is refused before anything was written costs nothing. When one fails after that, or what was gathered
cannot be written, the transaction is rolled back and the group is run again, each unit under a savepoint and written
before the next: failures of that kind are rare, and to pay for them in every group is not worth it.
"""

import sqlite3
from collections.abc import Callable, Sequence

from gatewayd.core.event import Event
from gatewayd.core.failpoints import Failpoints
from gatewayd.storage.sqlite.faults import bare
from gatewayd.storage.sqlite.tx import Books, Live, Tx, Unwritable
from gatewayd.storage.sqlite.unit import Unit


class _RunAgain(Exception):
    """A unit of a group without savepoints has to be undone."""


def run_group(
    connection: sqlite3.Connection,
    units: Sequence[Unit],
    books: Books,
    live: Live,
    *,
    encode: Callable[[Event], bytes],
    failpoints: Failpoints,
) -> tuple[Books, Tx]:
    """Run and commit the units; each then has its result or its own error.

    Returns the new books and the transaction, which says what else happened. Raises when nothing was committed.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            tx = Tx(connection, books, live, encode)
            _apply_all(connection, tx, units)
        except _RunAgain:
            connection.execute("ROLLBACK")
            live.forget()
            connection.execute("BEGIN IMMEDIATE")
            tx = Tx(connection, books, live, encode)
            _apply_each(connection, tx, units)
        new_books = tx.flush_totals()
        failpoints.hit("store.before_commit")
        connection.execute("COMMIT")
    except BaseException:
        live.forget()
        _rollback(connection)
        raise
    for rows in live.all:
        rows.committed()
    return new_books, tx


def _rollback(connection: sqlite3.Connection) -> None:
    """Roll back what is open. SQLite has done so by itself after some errors; a second failure adds nothing."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return


def _apply_all(connection: sqlite3.Connection, tx: Tx, units: Sequence[Unit]) -> None:
    """Without savepoints: the rows of all are gathered and written together."""
    tx.seen.load([key for unit in units for key in unit.keys])
    for unit in units:
        unit.reset()
        changes, mark = connection.total_changes, tx.mark()
        try:
            unit.result = unit.apply(tx)
        except Exception as error:
            # An error of the database itself concerns everything that waits for this commit.
            if bare(error):
                raise
            if isinstance(error, Unwritable) or connection.total_changes != changes:
                raise _RunAgain from error
            unit.error = error
            tx.undo(mark)
        else:
            unit.events = tx.committed[mark.committed :]
    try:
        tx.flush()
    except Unwritable as error:
        raise _RunAgain from error


def _apply_each(connection: sqlite3.Connection, tx: Tx, units: Sequence[Unit]) -> None:
    """With a savepoint around each unit, which ends with its rows written."""
    for unit in units:
        unit.reset()
        mark = tx.mark()
        connection.execute("SAVEPOINT unit")
        try:
            unit.result = unit.apply(tx)
            tx.flush()
        except Exception as error:
            if bare(error):
                raise
            unit.error = error.__cause__ if isinstance(error, Unwritable) else error
            connection.execute("ROLLBACK TO unit")
            tx.discard(mark)
        else:
            unit.events = tx.committed[mark.committed :]
        connection.execute("RELEASE unit")
