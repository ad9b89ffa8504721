"""The schema of a database file: making it, moving it on, and proving that it is the one we know."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from gatewayd.storage.migrate import Migration, migrations_of, pending
from gatewayd.storage.sqlite.place import APPLICATION_ID, sync_directory
from gatewayd.storage.sqlite.seal import damaged, reseal, seal

Connect = Callable[..., sqlite3.Connection]


def create(path: Path, epoch: str, connect: Connect) -> None:
    """Make a new database under another name and move it into place, so that an empty file is always damage.

    Nobody looks at it before, so it is brought to the disk once, when it is whole.
    """
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    file = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _fill(new, path, epoch, connect)
        os.fsync(file)
    except OSError as error:
        error.filename = error.filename or str(new)
        raise
    finally:
        os.close(file)
    new.rename(path)
    sync_directory(path.parent)


def _fill(new: Path, path: Path, epoch: str, connect: Connect) -> None:
    connection = connect(new, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = OFF")
        _add_functions(connection)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for migration in outdated(connection, path):
            _apply(migration, connection)
        connection.execute("INSERT INTO meta VALUES ('epoch', ?, ?)", (epoch, seal("epoch", epoch)))
        connection.execute("COMMIT")
        # The file says so itself: to change it in use would have the disk write four times.
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    finally:
        connection.close()


def upgrade(connection: sqlite3.Connection, path: Path) -> bool:
    """Apply the migrations that the file lacks, each in a transaction; whether there were any."""
    _add_functions(connection)
    lacking = outdated(connection, path)
    for migration in lacking:
        connection.execute("BEGIN IMMEDIATE")
        try:
            _apply(migration, connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return bool(lacking)


def _apply(migration: Migration, connection: sqlite3.Connection) -> None:
    for statement in statements_of(migration):
        connection.execute(statement)
    # Part of the transaction: it lies in the first page.
    connection.execute(f"PRAGMA user_version = {migration.version}")


def outdated(connection: sqlite3.Connection, path: Path) -> list[Migration]:
    """The migrations that the file lacks; `StoreCorrupt` when it is of a newer gatewayd."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    return pending(migrations_of("sqlite"), version, str(path))


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Whether tables and indexes are word for word those of the migrations: a bit may flip in their text, too."""
    expected = sqlite3.connect(":memory:", isolation_level=None)
    _add_functions(expected)
    try:
        for migration in migrations_of("sqlite"):
            for statement in statements_of(migration):
                expected.execute(statement)
        missing = _objects(expected) - _objects(connection)
    finally:
        expected.close()
    if missing:
        raise damaged(f"the schema of {path} ({', '.join(sorted(name for _, name, _, _ in missing))})")


def _add_functions(connection: sqlite3.Connection) -> None:
    """What migrations call that SQL cannot do."""
    connection.create_function("reseal", 8, reseal)


def statements_of(migration: Migration) -> Iterator[str]:
    statement = ""
    for line in migration.sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _objects(connection: sqlite3.Connection) -> set[tuple[str, str, str, str | None]]:
    return set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))
