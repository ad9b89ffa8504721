"""The audit trail and revoked tokens."""

import sqlite3

from gatewayd.storage.records import AuditRecord
from gatewayd.storage.sqlite.seal import damaged, seal, size_of
from gatewayd.storage.sqlite.tx import Tx


def record(tx: Tx, entry: AuditRecord) -> None:
    values = (float(entry.time), entry.principal, entry.action, entry.subject, entry.decision, entry.detail)
    tx.execute(
        "INSERT INTO audit (time, principal, action, subject, decision, detail, crc) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*values, seal(*values)),
    )
    tx.count("audit", 1, size_of(*map(str, values[1:])))


def revoke(tx: Tx, token_sha256: str, time: float) -> None:
    values = (token_sha256, float(time))
    tx.execute("INSERT OR IGNORE INTO revoked VALUES (?, ?, ?)", (*values, seal(*values)))


# Reading


def list_audit(connection: sqlite3.Connection, limit: int) -> list[AuditRecord]:
    entries = []
    rows = connection.execute(
        "SELECT time, principal, action, subject, decision, detail, crc FROM audit ORDER BY number DESC LIMIT ?",
        (max(0, limit),),
    )
    for *values, crc in rows:
        if seal(*values) != crc:
            raise damaged("a row of the audit trail")
        entries.append(AuditRecord(*values))
    return entries


def revoked(connection: sqlite3.Connection) -> frozenset[str]:
    tokens = set()
    for token, time, crc in connection.execute("SELECT token_sha256, time, crc FROM revoked"):
        if seal(token, time) != crc:
            raise damaged("a row of the revoked tokens")
        tokens.add(token)
    return frozenset(tokens)
