"""Which executions of entry points hold words of a conversation: what its events have started, and what these have."""

import json
import sqlite3
from collections import defaultdict

from gatewayd.core.chains import link_of
from gatewayd.core.work import Origin


def find(connection: sqlite3.Connection, session_id: str, principal: str) -> list[str]:
    started = _started(connection)
    found: set[str] = set()
    waiting = [("session_id", session_id)] if session_id else []
    if session_id:
        own = connection.execute("SELECT id FROM executions WHERE session_id = ?", (session_id,))
        waiting += [("execution_id", row[0]) for row in own]
    if principal:
        rows = connection.execute("SELECT id FROM executions WHERE session_id = '' AND principal = ?", (principal,))
        for (execution_id,) in rows:
            found.add(execution_id)
            waiting.append(("execution_id", execution_id))
    while waiting:
        for execution_id in started.get(waiting.pop(), ()):
            if execution_id not in found:
                found.add(execution_id)
                waiting.append(("execution_id", execution_id))
    return sorted(found)


def _started(connection: sqlite3.Connection) -> dict[tuple[str, str], list[str]]:
    """For each session and execution what its events have started: the input of those is the event.

    A chain leads to its first execution, after which it is named unless somebody has named it, also where one between
    them is no longer kept.
    """
    started: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    rows = connection.execute(
        "SELECT id, text FROM executions WHERE session_id = '' AND origin = ? AND text <> ''", (str(Origin.EVENT),)
    )
    for execution_id, text in rows:
        try:
            event = json.loads(text)["event"]
            about = {(name, event[name]) for name in ("session_id", "execution_id") if event.get(name)}
            if chain := link_of(event.get("correlation_id", ""))[0]:
                about.add(("execution_id", chain))
        except (ValueError, LookupError, TypeError, AttributeError):
            continue  # damaged; whoever reads the row hears of it
        for one in about:
            started[one].append(execution_id)
    return started
