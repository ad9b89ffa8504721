"""Retention: what deletes by age, count and bytes, a bite at a time."""

from collections.abc import Callable
from typing import Protocol

from gatewayd.core.value import value
from gatewayd.storage.retention import Limits, Retention
from gatewayd.storage.sqlite import checkpoints, execution_log, state
from gatewayd.storage.sqlite.forgetting import forget_seen
from gatewayd.storage.sqlite.layout import ENDED, LIVE, PENDING
from gatewayd.storage.sqlite.letters import NO_OPEN
from gatewayd.storage.sqlite.tx import ROW_BYTES, Tx
from gatewayd.storage.sqlite.unit import Receipt

BITE = 1000
"""Rows that one unit deletes at most: other units wait no longer than for these."""

_STORY_ENDED = (
    "NOT EXISTS (SELECT 1 FROM ledger WHERE ledger.message_id = {table}.message_id "
    "AND ledger.state IN ('queued', 'executed'))"
)


@value(frozen=True, slots=True)
class _Rule:
    """How a table is swept: its key, the bytes of a row, what may go, and what its age counts from."""

    key: str
    time: str
    size: str = "0"
    deletable: str = "1"
    order: str = ""
    """The key, or a column with an index; rows grow younger in this order, so the first to stay ends a bite."""


_RULES = {
    "events": _Rule("seq", "time", "length(wire)"),
    "sessions": _Rule(
        "id",
        "ended",
        "bytes",
        f"ended <> 0 AND NOT EXISTS (SELECT 1 FROM executions WHERE executions.session_id = sessions.id AND {LIVE})",
        "ended",
    ),
    "executions": _Rule(
        "id",
        "finished",
        "length(CAST(text AS BLOB)) + length(CAST(output AS BLOB)) + length(CAST(error AS BLOB))",
        f"{ENDED} AND {_STORY_ENDED.format(table='executions')} "
        f"AND {NO_OPEN.format(table='executions')}",  # a dead letter runs it again
        "finished",
    ),
    "inbox": _Rule("message_id", "received", "length(CAST(text AS BLOB))", _STORY_ENDED.format(table="inbox")),
    "outbox": _Rule(
        "id",
        "created",
        "length(CAST(text AS BLOB))",
        # A dead piece stays while an operator may still have it sent.
        f"NOT {PENDING} AND {_STORY_ENDED.format(table='outbox')} "
        f"AND (state = 'sent' OR {NO_OPEN.format(table='outbox')})",
    ),
    "ledger": _Rule("message_id", "created", "length(CAST(steps AS BLOB))", "state NOT IN ('queued', 'executed')"),
    "audit": _Rule("number", "time", "length(CAST(principal || action || subject || decision || detail AS BLOB))"),
    "dead_letters": _Rule("id", "time"),
    "push_dead_letters": _Rule("number", "time", "length(wire)"),
}


class Submit(Protocol):
    def __call__(self, apply: Callable[[Tx], int]) -> Receipt[int]: ...


async def sweep(submit: Submit, retention: Retention, now: float) -> dict[str, int]:
    """Delete table by table, a bite at a time, until every bound holds or only what must stay is left."""
    deleted: dict[str, int] = {}
    for table, limits in retention.tables.items():
        if (table not in _RULES and table != "seen") or limits == Limits():
            continue

        def bite(tx: Tx, table: str = table, limits: Limits = limits) -> int:
            return forget_seen(tx, limits, now, BITE) if table == "seen" else _bite(tx, table, limits, now)

        gone = 0
        while count := await submit(bite):
            gone += count
        deleted[table] = gone
    return deleted


def _bite(tx: Tx, table: str, limits: Limits, now: float) -> int:
    rule = _RULES[table]
    tx.flush()
    rows, size = tx.totals(table)
    oldest = tx.execute(
        f"SELECT {rule.key}, {rule.time}, {rule.size} FROM {table} WHERE {rule.deletable} "
        f"ORDER BY {rule.order or rule.key} LIMIT {BITE}"
    ).fetchall()
    doomed: list[list[object]] = []
    content = 0
    for *key, time, length in oldest:
        old = limits.max_age and time < now - limits.max_age
        many = limits.max_count and rows - len(doomed) > limits.max_count
        large = limits.max_bytes and size - content - len(doomed) * ROW_BYTES > limits.max_bytes
        if not (old or many or large):
            break
        doomed.append(key)
        content += length
    if not doomed:
        return 0
    tx.executemany(f"DELETE FROM {table} WHERE ({rule.key}) = ({', '.join('?' * len(doomed[0]))})", doomed)
    if table == "sessions":
        tx.executemany("DELETE FROM history WHERE session_id = ?", doomed)
    elif table == "executions":
        ids = [str(key) for (key,) in doomed]
        state.forget_executions(tx, ids)
        checkpoints.forget_executions(tx, ids)
        execution_log.forget(tx, ids)
    tx.forget()
    tx.swept = tx.swept or table == "events"
    tx.count(table, -len(doomed), -content)
    return len(doomed)
