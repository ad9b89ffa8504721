"""The sections `storage` and `bus`: where state is kept, and for how long."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from gatewayd.config.fields import DAY, GIB, KIB, MIB, YEAR, Bound, Duration, Size, Whole, database_url
from gatewayd.config.section import Section, setting

Age = Annotated[float | None, Bound(Duration(1.0, 100 * YEAR))]
Count = Annotated[int | None, Bound(Whole(1, 1_000_000_000))]
Bytes = Annotated[int | None, Bound(Size(64 * KIB, 1024 * GIB))]


class Retention(Section):
    """How much of a table is kept. The oldest goes first; a row that work still depends on is never taken.

    In the file 0 takes a bound away (None here); at least one of the three must stay.
    """

    max_age: Age = setting(
        default=None,
        description="Rows older than this are removed. Duration, 1s to 100 years; 0: no bound by age.",
    )
    max_count: Count = setting(
        default=None,
        description="Rows beyond this number are removed. 1 to 1000000000; 0: no bound by number.",
    )
    max_bytes: Bytes = setting(
        default=None,
        description="Rows are removed beyond this size of their content. Size, 64KiB to 1024GiB; 0: no bound by size.",
    )


class SessionRetention(Retention):
    """Conversations with their history, counted from their last message."""

    max_age: Age = setting(default=90 * DAY, description="Since the last message. Default 90d; 0: no bound by age.")
    max_count: Count = setting(
        default=100_000, description="Number of sessions. Default 100000; 0: no bound by number."
    )


class ExecutionRetention(Retention):
    """Finished runs of agents with their results."""

    max_age: Age = setting(default=30 * DAY, description="Since the run ended. Default 30d; 0: no bound by age.")
    max_count: Count = setting(
        default=100_000, description="Number of finished runs. Default 100000; 0: no bound by number."
    )


class InboxRetention(Retention):
    """Received messages that have been dealt with."""

    max_age: Age = setting(default=7 * DAY, description="Since it was received. Default 7d; 0: no bound by age.")
    max_count: Count = setting(
        default=100_000, description="Number of messages. Default 100000; 0: no bound by number."
    )


class OutboxRetention(Retention):
    """Messages that have been sent."""

    max_age: Age = setting(default=7 * DAY, description="Since it was sent. Default 7d; 0: no bound by age.")
    max_count: Count = setting(
        default=100_000, description="Number of messages. Default 100000; 0: no bound by number."
    )


class LedgerRetention(Retention):
    """The stories of messages that have ended, as `gatewayctl trace` tells them."""

    max_age: Age = setting(default=30 * DAY, description="Since the story ended. Default 30d; 0: no bound by age.")
    max_count: Count = setting(default=500_000, description="Number of stories. Default 500000; 0: no bound by number.")


class SeenRetention(Retention):
    """Ids of messages and of published events that were seen before; a platform repeats for days at most."""

    max_age: Age = setting(default=8 * DAY, description="Since it was first seen. Default 8d; 0: no bound by age.")
    max_count: Count = setting(default=1_000_000, description="Number of ids. Default 1000000; 0: no bound by number.")


class AuditRetention(Retention):
    """Who did what, and what was decided."""

    max_age: Age = setting(default=YEAR, description="Since it happened. Default 365d; 0: no bound by age.")
    max_count: Count = setting(
        default=1_000_000, description="Number of entries. Default 1000000; 0: no bound by number."
    )


class DeadLetterRetention(Retention):
    """Messages that could not be sent and wait for an operator."""

    max_age: Age = setting(default=30 * DAY, description="Since it was given up. Default 30d; 0: no bound by age.")
    max_count: Count = setting(
        default=10_000, description="Number of dead letters. Default 10000; 0: no bound by number."
    )


class PushDeadLetterRetention(Retention):
    """Pushed messages that were given up for a client."""

    max_age: Age = setting(default=7 * DAY, description="Since it was given up. Default 7d; 0: no bound by age.")
    max_count: Count = setting(
        default=10_000, description="Number of dead letters. Default 10000; 0: no bound by number."
    )
    max_bytes: Bytes = setting(default=64 * MIB, description="Size of all of them. Default 64MiB; 0: no bound by size.")


class RetentionSection(Section):
    """`storage.retention`: one entry per table. Events have theirs in `bus.history`."""

    HINTS: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"events": "how long events are kept is said in bus.history (max_events, max_age, max_bytes)"}
    )

    sessions: SessionRetention = setting(default=SessionRetention(), description="Conversations and their history.")
    executions: ExecutionRetention = setting(default=ExecutionRetention(), description="Finished runs of agents.")
    inbox: InboxRetention = setting(
        default=InboxRetention(), description="Received messages that have been dealt with."
    )
    outbox: OutboxRetention = setting(default=OutboxRetention(), description="Messages that have been sent.")
    ledger: LedgerRetention = setting(default=LedgerRetention(), description="The ended stories of messages.")
    seen: SeenRetention = setting(
        default=SeenRetention(),
        description="Ids of messages, and of published durable events by principal, kept against duplicates: what "
        "comes again within this time is known.",
    )
    audit: AuditRetention = setting(default=AuditRetention(), description="Who did what.")
    dead_letters: DeadLetterRetention = setting(
        default=DeadLetterRetention(), description="Messages that could not be sent and wait for an operator."
    )
    push_dead_letters: PushDeadLetterRetention = setting(
        default=PushDeadLetterRetention(), description="Pushed messages that were given up for a client."
    )


class StorageSection(Section):
    """`storage`: where state is kept."""

    url: Annotated[str, database_url] = setting(
        default="sqlite:",
        description="The database. `sqlite:` (default): gatewayd.db in the state directory; `sqlite:///absolute/path`: "
        "that file. A change needs a restart.",
    )
    durability: Literal["full", "relaxed"] = setting(
        default="full",
        description="`full` (default): what was acknowledged survives a power cut. `relaxed`: the last moments before "
        "a power cut may be lost, for speed; the start prints how much. A change needs a restart.",
    )
    retention: RetentionSection = setting(default=RetentionSection(), description="How long each table keeps its rows.")


class HistorySection(Section):
    """`bus.history`: how many events can be replayed from a cursor."""

    max_events: Annotated[int, Whole(1, 100_000_000)] = setting(
        default=1000, description="Number of events kept. Default 1000, 1 to 100000000."
    )
    max_age: Age = setting(
        default=None,
        description="Events older than this are removed. Duration, 1s to 100 years; 0 (default): no bound by age.",
    )
    max_bytes: Bytes = setting(
        default=None, description="Size of all events kept. Size, 64KiB to 1024GiB; 0 (default): no bound by size."
    )


class BusSection(Section):
    """`bus`: the event bus."""

    HINTS: ClassVar[Mapping[str, str]] = MappingProxyType({"url": "a bus outside the daemon is not in this version"})

    history: HistorySection = setting(default=HistorySection(), description="How many events can be replayed.")
    handler_concurrency: Annotated[int, Whole(1, 1000)] = setting(
        default=10,
        description="Events that one handler inside the daemon works on at a time; the others wait. Default 10, 1 to "
        "1000.",
    )


__all__ = ["BusSection", "HistorySection", "Retention", "RetentionSection", "StorageSection"]
