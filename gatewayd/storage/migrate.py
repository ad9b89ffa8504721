"""Numbered `.sql` files, each applied once, in a transaction.

A backend keeps its files in `gatewayd/storage/sql/BACKEND`. The number of the last applied one is the schema's
version. Files only grow in number: what was released is never edited. Nothing here knows a database.
"""

import re
from pathlib import Path

from gatewayd.core.errors import StoreCorrupt
from gatewayd.core.value import value

_NAME = re.compile(r"(\d{4})_\w+\.sql\Z")
_FILES = Path(__file__).with_name("sql")


@value(frozen=True, slots=True)
class Migration:
    """One file."""

    version: int
    name: str
    sql: str


def migrations_of(backend: str) -> list[Migration]:
    """The backend's files in order; their numbers run 1, 2, 3, … without a gap."""
    found = []
    for file in (_FILES / backend).iterdir():
        match = _NAME.match(file.name)
        if match:
            found.append(Migration(int(match[1]), file.name, file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise StoreCorrupt(f"the migrations of {backend} are not numbered 1, 2, 3, …: {[m.name for m in found]}")
    return found


def pending(migrations: list[Migration], version: int, place: str) -> list[Migration]:
    """Those after `version`; `StoreCorrupt` when the data is of a newer gatewayd than this one."""
    newest = migrations[-1].version if migrations else 0
    if version > newest:
        raise StoreCorrupt(
            f"{place} has schema version {version}, this gatewayd knows up to {newest}: "
            "start the newer gatewayd that wrote it, or restore a backup from before the upgrade"
        )
    return migrations[version:]
