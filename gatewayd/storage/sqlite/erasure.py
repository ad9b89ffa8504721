"""Erasure of one person's conversation: contents go, ids and states stay, so that every story can still be told."""

from collections.abc import Callable, Sequence
from typing import Any

from gatewayd.core.event import Event
from gatewayd.core.work import LedgerState
from gatewayd.storage.records import OutboxState, Step
from gatewayd.storage.sqlite import checkpoints, execution_log, executions, ledger, state
from gatewayd.storage.sqlite.events import COLUMNS as EVENT_COLUMNS
from gatewayd.storage.sqlite.events import EventReader
from gatewayd.storage.sqlite.layout import EXECUTIONS, OUTBOX
from gatewayd.storage.sqlite.seal import seal, size_of
from gatewayd.storage.sqlite.tx import Tx


def erase(tx: Tx, session_id: str, events: EventReader, encode: Callable[[Event], bytes], now: float) -> bool:
    """Whether there was such a session. Pieces that wait to be sent are not sent any more."""
    tx.flush()
    session = tx.sessions.find(session_id)
    if session is None:
        return False
    tx.execute("DELETE FROM history WHERE session_id = ?", (session_id,))
    tx.sessions.save(session_id, session._replace(messages=0, bytes=0))
    tx.count("sessions", 0, -session.bytes)
    messages = tx.execute(
        "SELECT message_id FROM executions WHERE session_id = ?1 "
        "UNION SELECT message_id FROM ledger WHERE session_id = ?1",
        (session_id,),
    ).fetchall()
    _erase_executions(tx, session_id)
    for (message_id,) in messages:
        _erase_inbox(tx, message_id)
        _erase_outbox(tx, message_id, now)
    _erase_events(tx, "session_id", session_id, events, encode)
    tx.erased = True
    return True


def erase_executions(
    tx: Tx, execution_ids: Sequence[str], events: EventReader, encode: Callable[[Event], bytes], now: float
) -> int:
    """Those that have no session; how many events that went over."""
    tx.flush()
    gone = 0
    for execution_id in execution_ids:
        rows = tx.execute(f"SELECT {EXECUTIONS.columns} FROM executions WHERE id = ?", (execution_id,)).fetchall()
        for values in rows:
            _erase_execution(tx, values)
            _erase_inbox(tx, values[1])
            _erase_outbox(tx, values[1], now)
            gone += _erase_events(tx, "execution_id", execution_id, events, encode)
            tx.erased = True
    return gone


def _erase_executions(tx: Tx, session_id: str) -> None:
    rows = tx.execute(f"SELECT {EXECUTIONS.columns} FROM executions WHERE session_id = ?", (session_id,)).fetchall()
    for values in rows:
        _erase_execution(tx, values)


def _erase_execution(tx: Tx, values: Sequence[Any]) -> None:
    fixed, status = EXECUTIONS.read(values)
    blank = (*fixed[:6], "", *fixed[7:])
    tx.execute("UPDATE executions SET text = '', input_crc = ? WHERE id = ?", (seal(*blank), fixed[0]))
    tx.count("executions", 0, -size_of(fixed[6]))
    executions.save(tx, fixed[0], status, status._replace(output="", error=""))
    state.forget_executions(tx, [fixed[0]])
    checkpoints.forget_executions(tx, [fixed[0]])
    execution_log.forget(tx, [fixed[0]])


def _erase_inbox(tx: Tx, message_id: str) -> None:
    values = tx.execute(f"SELECT {ledger.INBOX_COLUMNS} FROM inbox WHERE message_id = ?", (message_id,)).fetchone()
    if values is not None:
        fields = ledger.inbox_fields(values)
        fixed = (*fields[:8], "", fields[9])
        tx.execute("UPDATE inbox SET text = '', crc = ? WHERE message_id = ?", (seal(*fixed), message_id))
        tx.count("inbox", 0, -size_of(fields[8]))


def _erase_outbox(tx: Tx, message_id: str, now: float) -> None:
    cut_off = False
    rows = tx.execute(f"SELECT {OUTBOX.columns} FROM outbox WHERE message_id = ?", (message_id,)).fetchall()
    for values in rows:
        fixed, status = OUTBOX.read(values)
        blank = (*fixed[:6], "", *fixed[7:])
        tx.execute("UPDATE outbox SET text = '', input_crc = ? WHERE id = ?", (seal(*blank), fixed[0]))
        tx.count("outbox", 0, -size_of(fixed[6]))
        if status.state in (OutboxState.QUEUED, OutboxState.SENDING):
            cut_off = True
            tx.outbox.save(fixed[0], status._replace(state=str(OutboxState.DEAD), reason="erased"))
            ledger.await_pieces(tx, message_id, -1)
    if cut_off:
        ledger.tell(tx, message_id, Step("erased", now), LedgerState.DEAD_LETTERED)


def _erase_events(tx: Tx, column: str, value: str, events: EventReader, encode: Callable[[Event], bytes]) -> int:
    # The log has no index by session or execution: appending must be cheap, and this is rare.
    rows = tx.execute(f"SELECT {EVENT_COLUMNS} FROM events WHERE {column} = ?", (value,)).fetchall()
    for row in rows:
        blank = events.blank(row, encode)
        tx.execute("UPDATE events SET wire = ?, crc = ? WHERE seq = ?", (blank[10], blank[11], blank[0]))
        tx.count("events", 0, len(blank[10]) - len(row[10]))
    return len(rows)
