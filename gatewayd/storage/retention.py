"""For how long the store keeps what is done with."""

from dataclasses import field

from gatewayd.core.value import value


@value(frozen=True, slots=True)
class Limits:
    """Retention of one table; 0 means no bound of that kind."""

    max_age: float = 0.0
    max_count: int = 0
    max_bytes: int = 0


@value(frozen=True, slots=True)
class Retention:
    """Retention by table name: events, sessions, executions, inbox, outbox, ledger, seen, audit, dead_letters,
    push_dead_letters."""

    tables: dict[str, Limits] = field(default_factory=dict)
