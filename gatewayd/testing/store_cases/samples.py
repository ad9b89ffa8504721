"""What the store's conformance suite works with: a store in a fresh place, a sink that listens, and sample values."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from gatewayd.core.event import Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.message import ReplyKind, ReplyTo
from gatewayd.core.work import Execution, ExecutionState, LedgerState, Origin
from gatewayd.storage.base import Store
from gatewayd.storage.records import (
    Acceptance,
    DeadLetter,
    DeadLetterKind,
    Finish,
    HistoryEntry,
    Inbound,
    LedgerChange,
    OutboxRow,
    Published,
    SessionRecord,
    Step,
)

NOW = 1_800_000_000.25
ALL = EventFilter()


class ListeningSink:
    """An `EventSink` that writes down what it hears, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, list[str]]] = []
        self.events: list[Event] = []
        self.erasures = 0

    def expected(self, stream_ids: Sequence[str]) -> None:
        self.heard.append(("expected", list(stream_ids)))

    def committed(self, events: Sequence[Event]) -> None:
        self.heard.append(("committed", [event.id for event in events]))
        self.events.extend(events)

    def abandoned(self, stream_ids: Sequence[str]) -> None:
        self.heard.append(("abandoned", list(stream_ids)))

    def erased(self) -> None:
        self.erasures += 1


class Harness(Protocol):
    """What a backend's test supplies: `harness`, a fixture with an open store in a place of its own."""

    store: Store
    sink: ListeningSink

    async def reopen(self) -> None:
        """Close the store and open the same place with a new one; `store` and `sink` are the new ones then."""
        ...


def event(name: str, *, stream: str = "agent", content: str = "hello", **fields: Any) -> Event:
    return replace(Event(name, EventType.MESSAGE, "test", stream, NOW, {"content": content}), **fields)


def published(*names: str, digest: bytes = b"same", **fields: Any) -> list[Published]:
    return [Published(event(name, **fields), digest) for name in names]


def session(name: str = "s1", key: str = "chat/1", **fields: Any) -> SessionRecord:
    record = SessionRecord(
        id=name,
        key=key,
        principal="ann",
        agent="helper",
        channel="tg",
        rule="tg.dm",
        created=NOW,
        last_active=NOW,
    )
    return replace(record, **fields)


def execution(number: int, session_id: str = "s1", **fields: Any) -> Execution:
    made = Execution(
        id=f"x{number:04}",
        message_id=f"m{number:04}",
        session_id=session_id,
        agent="helper",
        principal="ann",
        origin=Origin.CHAT,
        text=f"question {number}",
        reply_to=ReplyTo(ReplyKind.CHANNEL, "tg", "chat", "thread", "quote", ""),
        stream_id="helper",
        correlation_id="c",
        created=NOW + number,
    )
    return replace(made, **fields)


def acceptance(
    number: int,
    *,
    dedupe: str | None = None,
    digest: bytes = b"",
    events: tuple[Event, ...] = (),
    record: SessionRecord | None = None,
    text: str = "",
) -> Acceptance:
    record = record or session()
    text = text or f"question {number}"
    return Acceptance(
        inbound=Inbound(
            f"m{number:04}", Origin.CHAT, "ann", "tg", "chat", "peer", f"tg-{number}", "dm", text, NOW + number
        ),
        dedupe_scope="tg/bot",
        dedupe_id=f"tg-{number}" if dedupe is None else dedupe,
        digest=digest,
        session=record,
        execution=execution(number, record.id, text=text),
        state=LedgerState.QUEUED,
        steps=(Step("received", NOW), Step("routed", NOW, "tg.dm"), Step("queued", NOW)),
        rule="tg.dm",
        events=events,
    )


def piece(number: int, part: int = 0, text: str = "answer") -> OutboxRow:
    return OutboxRow(
        id=f"o{number:04}-{part}",
        key=f"m{number:04}/{part}",
        channel="tg",
        chat="chat",
        thread="",
        quote="",
        text=text,
        message_id=f"m{number:04}",
        execution_id=f"x{number:04}",
        created=NOW + number,
    )


def finish(
    number: int, *, pieces: int = 1, turn: tuple[HistoryEntry, ...] = (), events: tuple[Event, ...] = ()
) -> Finish:
    executed = LedgerChange(f"m{number:04}", LedgerState.EXECUTED, Step("executed", NOW), outcome=LedgerState.ANSWERED)
    return Finish(
        execution_id=f"x{number:04}",
        state=ExecutionState.SUCCEEDED,
        finished=NOW + number + 0.5,
        output="answer",
        session_id="s1",
        turn=turn,
        history_max_messages=4,
        outbox=tuple(piece(number, part) for part in range(pieces)),
        ledger=(executed,),
        events=events,
    )


def turn(number: int, size: int = 6) -> tuple[HistoryEntry, ...]:
    return (
        HistoryEntry("user", f"q{number}".ljust(size, "."), NOW, f"x{number:04}"),
        HistoryEntry("assistant", f"a{number}".ljust(size, "."), NOW, f"x{number:04}"),
    )


def letter(name: str, number: int, part: int = 0) -> DeadLetter:
    return DeadLetter(name, DeadLetterKind.OUTBOUND, f"m{number:04}", f"o{number:04}-{part}", "tg", "refused", NOW)


def died(number: int) -> LedgerChange:
    return LedgerChange(f"m{number:04}", LedgerState.DEAD_LETTERED, Step("dead-lettered", NOW, "refused"))


async def answered(store: Store, number: int, pieces: int = 1) -> None:
    """Take a message through its whole story."""
    await store.accept(acceptance(number))
    await store.start(f"x{number:04}", NOW, ())
    await store.finish(finish(number, pieces=pieces))
    for part in range(pieces):
        await store.mark_sending([f"o{number:04}-{part}"])
        await store.mark_sent(f"o{number:04}-{part}", f"sent-{number}-{part}", NOW)
