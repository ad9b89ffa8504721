"""What executions ask in chats, and what they are answered."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from gatewayd.core.checkpoint import MAX_QUESTIONS, Question
from gatewayd.core.errors import LimitExceeded
from gatewayd.storage.sqlite.layout import LIVE
from gatewayd.storage.sqlite.seal import damaged, seal
from gatewayd.storage.sqlite.tx import Tx

_COLUMNS = "execution_id, number, node_id, prompt, asked, answer, message_id, answered, crc"
_OPEN = (
    f"SELECT {', '.join(f'questions.{name.strip()}' for name in _COLUMNS.split(','))} "
    "FROM executions INDEXED BY executions_live JOIN questions ON questions.execution_id = executions.id "
    f"WHERE executions.session_id = ? AND {LIVE} AND state = 'input_required' AND answered = 0 "
    "ORDER BY asked DESC, executions.id DESC, number DESC LIMIT 1"
)


def ask(tx: Tx, question: Question) -> None:
    """`LimitExceeded` where the execution has asked too much already."""
    (last,) = tx.execute(
        "SELECT coalesce(max(number), 0) FROM questions WHERE execution_id = ?", (question.execution_id,)
    ).fetchone()
    if last >= MAX_QUESTIONS:
        raise LimitExceeded(
            f"it has asked {MAX_QUESTIONS} questions, which is the most of one execution",
            metadata={"limit": "questions"},
        )
    _put(tx, last + 1, question)
    tx.count("questions", 1, 0)


def answer(tx: Tx, execution_id: str, node_id: str, content: str, *, message_id: str, time: float) -> None:
    """To the last open question of that node; nothing where it was not asked in a chat."""
    if not tx.may_have("questions"):
        return
    row = tx.execute(
        f"SELECT {_COLUMNS} FROM questions WHERE execution_id = ? AND node_id = ? AND answered = 0 "
        "ORDER BY number DESC LIMIT 1",
        (execution_id, node_id),
    ).fetchone()
    if row is not None:
        open_ = _question_of(row)
        answered = Question(execution_id, node_id, open_.prompt, open_.asked, content, message_id, time)
        _put(tx, row[1], answered)


def of(connection: sqlite3.Connection, execution_id: str) -> list[Question]:
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM questions WHERE execution_id = ? ORDER BY number", (execution_id,)
    )
    return [_question_of(row) for row in rows]


def open_in(connection: sqlite3.Connection, session_id: str) -> Question | None:
    row = connection.execute(_OPEN, (session_id,)).fetchone()
    return _question_of(row) if row else None


def _put(tx: Tx, number: int, one: Question) -> None:
    values = (
        one.execution_id,
        number,
        one.node_id,
        one.prompt,
        float(one.asked),
        one.answer,
        one.message_id,
        float(one.answered),
    )
    tx.execute("REPLACE INTO questions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, seal(*values)))


def _question_of(row: Sequence[Any]) -> Question:
    if seal(*row[:8]) != row[8]:
        raise damaged(f"a question of execution {row[0]}")
    execution_id, _, node_id, prompt, asked, said, message_id, answered = row[:8]
    return Question(execution_id, node_id, prompt, asked, said, message_id, answered)
