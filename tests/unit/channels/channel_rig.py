"""What the tests of channels share: a store of the outbox in memory, an adapter that does as told, an outbox in time.

The store keeps the contract where the outbox can tell: units are submitted at the call, take effect in that order and
resolve some turns of the loop later; reads see committed rows alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from gatewayd.channels.base import Capabilities, ChannelStatus, Handover, Inbox, Pulse
from gatewayd.channels.outbox import Outbox
from gatewayd.config.channels import ChannelSection
from gatewayd.core.failpoints import NO_FAILPOINTS, Failpoints
from gatewayd.core.ids import IdSource
from gatewayd.core.message import OutboundMessage
from gatewayd.storage.base import Store
from gatewayd.storage.records import DeadLetter, LedgerChange, OutboxRow, OutboxState
from gatewayd.testing.fakes import EvenRandomness, FakeClock

PENDING = (OutboxState.QUEUED, OutboxState.SENDING)


class OutboxStore:
    def __init__(self) -> None:
        self.rows: dict[str, OutboxRow] = {}
        self.letters: list[DeadLetter] = []
        self.steps: list[LedgerChange] = []
        self.log: list[str] = []
        self.failures: list[Exception] = []
        self.pages: list[int] = []
        self.page_gate = asyncio.Event()
        """While it is clear a page that was read does not arrive."""
        self.page_gate.set()
        self._units: list[tuple[Callable[[], None], asyncio.Future[None]]] = []

    def put(self, *rows: OutboxRow) -> None:
        self.rows.update({row.id: row for row in rows})

    async def pending_outbox(self, channel: str, *, after: str = "", limit: int = 1000) -> list[OutboxRow]:
        found = sorted(
            (row for row in self.rows.values() if row.channel == channel and row.id > after and row.state in PENDING),
            key=lambda row: row.id,
        )[:limit]
        await self.page_gate.wait()
        self.pages.append(len(found))
        return found

    def mark_sending(self, row_ids: Sequence[str]) -> Awaitable[None]:
        def apply() -> None:
            for each in row_ids:
                assert self.rows[each].state in PENDING, f"{each} is marked although it has its end"
                self._set(each, state=OutboxState.SENDING, attempts=self.rows[each].attempts + 1)

        return self._submit(f"sending {' '.join(row_ids)}", apply)

    def mark_sent(self, row_id: str, platform_id: str, time: float) -> Awaitable[None]:
        return self._submit(
            f"sent {row_id}", lambda: self._set(row_id, state=OutboxState.SENT, platform_id=platform_id)
        )

    def mark_retry(self, row_id: str, next_time: float, reason: str) -> Awaitable[None]:
        return self._submit(
            f"retry {row_id}", lambda: self._set(row_id, state=OutboxState.QUEUED, next_time=next_time, reason=reason)
        )

    def mark_dead(self, row_id: str, letter: DeadLetter, step: LedgerChange) -> Awaitable[None]:
        def apply() -> None:
            whole = self.rows[row_id].whole
            for each in [row for row in self.rows.values() if row.whole == whole and row.id >= row_id]:
                self._set(each.id, state=OutboxState.DEAD, reason=letter.reason)
            self.letters.append(letter)
            self.steps.append(step)

        return self._submit(f"dead {row_id}", apply)

    def states(self) -> dict[str, str]:
        return {row.id: str(row.state) for row in self.rows.values()}

    def _set(self, row_id: str, **changes: Any) -> None:
        self.rows[row_id] = replace(self.rows[row_id], **changes)

    def _submit(self, line: str, apply: Callable[[], None]) -> Awaitable[None]:
        if self.failures:
            raise self.failures.pop(0)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def commit() -> None:
            self.log.append(line)
            apply()
            if not done.done():
                done.set_result(None)

        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: loop.call_soon(commit))
        return done


class ToldAdapter:
    """Sends by a list of outcomes: an exception is raised, a number waits that many seconds, nothing sends."""

    Settings = object

    def __init__(self, clock: FakeClock, *, idempotent: bool = False, rate: float = 0.0) -> None:
        self.clock = clock
        self.outcomes: dict[str, list[Exception | float]] = {}
        self.sent: list[OutboundMessage] = []
        self.tried: list[str] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.closed = 0
        self.runs: list[Callable[[Inbox, Pulse], Awaitable[None]]] = []
        self.began = 0
        self.running = 0
        self._capabilities = Capabilities(
            4096, rate, idempotent_send=idempotent, transport_timeout=90, conflict_wait=60
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def can(self, **changes: Any) -> None:
        self._capabilities = replace(self._capabilities, **changes)

    def exclusive(self) -> None:
        self.can(handover=Handover.EXCLUSIVE)

    async def check(self) -> None:
        return None

    async def run(self, inbox: Inbox, pulse: Pulse) -> None:
        self.began += 1
        self.running += 1
        try:
            if self.runs:
                await self.runs.pop(0)(inbox, pulse)
            else:
                pulse.ready("bot")
                await asyncio.get_running_loop().create_future()
        finally:
            self.running -= 1

    async def send(self, message: OutboundMessage) -> str:
        self.tried.append(message.text)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            outcomes = self.outcomes.get(message.text, [])
            outcome = outcomes.pop(0) if outcomes else 0.0
            if isinstance(outcome, Exception):
                raise outcome
            await self.clock.sleep(outcome)
            self.sent.append(message)
            return f"platform-{message.id}"
        finally:
            self.in_flight -= 1

    async def close(self) -> None:
        self.closed += 1

    def texts(self, chat: str = "") -> list[str]:
        return [message.text for message in self.sent if chat in ("", message.chat)]


def row(number: int, text: str = "", *, chat: str = "room", message: str = "", **changes: Any) -> OutboxRow:
    """A row whose id sorts by its number; by default each is a message of its own."""
    message = message or f"message-{number}"
    made = OutboxRow(
        f"row-{number:05}", f"{message}/{number}", "ch", chat, "", "", text or f"text {number}", message, "", 0
    )
    return replace(made, **changes)


class OutboxRig:
    def __init__(
        self,
        *,
        failpoints: Failpoints = NO_FAILPOINTS,
        max_rows: int = 100,
        idempotent: bool = False,
        rate: float = 0.0,
    ) -> None:
        self.clock = FakeClock()
        self.store = OutboxStore()
        self.adapter = ToldAdapter(self.clock, idempotent=idempotent, rate=rate)
        self.section = ChannelSection(platform="told")
        self.outbox = Outbox(
            "ch",
            cast("Store", self.store),
            section=lambda: self.section,
            ids=IdSource(self.clock, EvenRandomness()),
            clock=self.clock,
            randomness=EvenRandomness(),
            failpoints=failpoints,
            max_rows=max_rows,
        )

    def start(self) -> None:
        self.outbox.use(self.adapter)
        self.outbox.connected(True)
        self.outbox.start()

    def offer(self, *rows: OutboxRow) -> None:
        self.store.put(*rows)
        self.outbox.offer(rows)

    def section_of(self, **changes: Any) -> None:
        self.section = ChannelSection(**vars(self.section) | changes)

    async def __aenter__(self) -> "OutboxRig":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.clock.run(self.outbox.stop())


class States:
    """Remembers what was told of channels' states."""

    def __init__(self) -> None:
        self.told: list[ChannelStatus] = []

    def __call__(self, old: ChannelStatus, new: ChannelStatus) -> None:
        self.told.append(new)

    def names(self, channel: str = "") -> list[str]:
        return [str(status.state) for status in self.told if channel in ("", status.name)]
