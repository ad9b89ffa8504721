"""Sends what is queued for one channel: in order per chat, at the platform's pace, marked before and after.

The rule about crashes: a row is on disk as `sending` before the platform is called and as `sent` after. A row whose
fate is unknown (found `sending` at the start, or cut off in between) is sent again where the platform recognises its
key or the channel says `ambiguous: resend`, and is held as a dead letter otherwise. Rows in the store are the truth;
memory holds a part of them. The router offers rows after their commit; the manager opens and closes the way out.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from gatewayd.channels.backlog import MAX_ROWS, Backlog
from gatewayd.channels.base import ChannelAdapter, ChannelUnavailable, RateLimited, SendRejected
from gatewayd.channels.lanes import Piece
from gatewayd.channels.marks import Marks
from gatewayd.channels.pace import Backoff, TokenBucket
from gatewayd.config.channels import ChannelSection
from gatewayd.core.clock import Clock, Randomness
from gatewayd.core.errors import GatewayError
from gatewayd.core.failpoints import NO_FAILPOINTS, Failpoints
from gatewayd.core.ids import IdSource
from gatewayd.core.message import OutboundMessage
from gatewayd.core.work import LedgerState
from gatewayd.service import TaskSet
from gatewayd.storage.base import Store
from gatewayd.storage.records import DeadLetter, DeadLetterKind, LedgerChange, OutboxRow, OutboxState, Step

log = logging.getLogger(__name__)

MAX_TRIES: Final = 20
"""Failed tries after which a piece is undeliverable; with delays of 2 s to 2 min that is about half an hour."""
MAX_FAILING: Final = 24 * 3600.0
"""Seconds after the first failed try after which a piece is undeliverable."""
_BATCH: Final = 256
"""Chats that are marked in one commit."""
_IN_FLIGHT: Final = 512
"""Sends at a time, and as many answers that are not on disk yet."""
_SETTLE: Final = 5.0
"""Seconds that `stop` waits for the last marks."""
_REASON_LENGTH: Final = 300


class Outbox:
    """One channel's way out. Nothing is sent before `start`, `use` and `connected(True)`."""

    def __init__(
        self,
        channel: str,
        store: Store,
        *,
        section: Callable[[], ChannelSection],
        ids: IdSource,
        clock: Clock,
        randomness: Randomness,
        failpoints: Failpoints = NO_FAILPOINTS,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._channel = channel
        self._store = store
        self._section = section
        """The current section: rate and policy are read when they are needed."""
        self._ids = ids
        self._clock = clock
        self._failpoints = failpoints
        self._adapter: ChannelAdapter | None = None
        self._backlog = Backlog(channel, store, self._admit, max_rows=max_rows)
        self._marks = Marks(channel, clock, randomness)
        self._bucket = TokenBucket(clock)
        self._retries = Backoff(randomness, first=2.0, cap=120.0)
        self._troubles = Backoff(randomness, first=0.5, cap=30.0)
        self._connected = False
        self.sent = 0
        """Pieces that the platform has taken since the daemon started."""
        self._paused_until = 0.0
        self._in_flight: dict[str, tuple[Piece, ChannelAdapter]] = {}
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._sending = TaskSet(f"outbox {channel}")
        self._marking = TaskSet(f"outbox {channel}")

    @property
    def queued(self) -> int:
        """Pieces that wait or are being sent, as far as known."""
        return self._backlog.size

    def use(self, adapter: ChannelAdapter) -> None:
        """Send through this adapter from now on; what is being sent stays with the one before."""
        self._adapter = adapter
        self._news()

    def connected(self, up: bool) -> None:
        """Whether the channel is up; while it is not, nothing is tried."""
        self._connected = up
        self._news()

    def start(self) -> None:
        """Begin to load and send; `use` comes first, because the rule about crashes asks the platform."""
        self._sending.start(self._forever(self._send_all), name="sending")
        self._marking.start(self._forever(self._marks.run), name="marking")

    def offer(self, rows: Sequence[OutboxRow]) -> None:
        """Rows that were just committed. Before `start` nothing is done: it will find them."""
        if self._sending:
            self._backlog.offer(rows)
            self._news()

    async def retry(self, row: OutboxRow) -> None:
        """A row that an operator has queued again."""
        if self._sending:
            await self._backlog.retry(row)
            self._news()

    async def drain(self, timeout: float | None) -> bool:
        """Wait until all is sent and marked, or nothing more can be; False when that took longer than `timeout` s."""
        with suppress(TimeoutError):
            async with self._clock.timeout(timeout):
                while self._busy():
                    self._progress.clear()
                    await self._progress.wait()
                await self._marks.settled()
                return True
        return False

    async def released(self, adapter: ChannelAdapter) -> None:
        """Wait until nothing is being sent through that adapter any more."""
        while any(each is adapter for _, each in self._in_flight.values()):
            self._progress.clear()
            await self._progress.wait()

    async def stop(self) -> None:
        """End now. What is being sent is cut off and ambiguous; what waits stays in the store."""
        await self._sending.close()
        for piece, _ in self._in_flight.values():  # marked, but their task never came to call the platform
            self._again(piece, 0.0, "stopped before it was sent")
        self._in_flight.clear()
        with suppress(TimeoutError):
            async with self._clock.timeout(_SETTLE if self._marking else 0):
                await self._marks.settled()
        await self._marking.close()

    def _busy(self) -> bool:
        return bool(self._in_flight) or (self._connected and bool(self._sending) and not self._backlog.exhausted)

    async def _forever(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await work()
            except Exception:  # the boundary of this part: a defect is told, and sending goes on
                log.exception("outbox_defect", extra={"channel": self._channel})
            await self._clock.sleep(self._troubles.delay())

    async def _send_all(self) -> None:
        async with asyncio.TaskGroup() as sends:
            while True:
                self._wake.clear()
                try:
                    await self._next(sends)
                except GatewayError as error:
                    log.warning("outbox_store_unwilling", extra={"channel": self._channel, "reason": error.reason})
                    await self._clock.sleep(self._troubles.delay())

    async def _next(self, sends: asyncio.TaskGroup) -> None:
        """Mark and send what may go now, or wait until something may."""
        if self._backlog.wants_page:
            await self._backlog.load()
        now = self._clock.monotonic()
        adapter = self._adapter
        rate = self._rate()
        room = min(_BATCH, _IN_FLIGHT - len(self._in_flight), _IN_FLIGHT - len(self._marks))
        batch: list[Piece] = []
        if adapter is not None and self._connected and now >= self._paused_until and room > 0:
            batch = self._backlog.lanes.take(now, self._bucket.available(rate, room))
        if not batch or adapter is None:
            with suppress(TimeoutError):
                async with self._clock.timeout(self._wait(now, rate, room)):
                    await self._wake.wait()
            return
        self._bucket.take(len(batch))
        await self._mark_sending(batch)
        for piece in batch:
            self._in_flight[piece.row.id] = (piece, adapter)
            sends.create_task(self._send(piece, adapter))

    async def _mark_sending(self, batch: list[Piece]) -> None:
        marked = False
        try:
            await self._store.mark_sending([piece.row.id for piece in batch])
            marked = True
            self._troubles.reset()
            self._failpoints.hit("outbox.after_mark_sending")
        except BaseException as error:
            for piece in batch:
                if marked or isinstance(error, asyncio.CancelledError):
                    # On disk, or soon, it is as if it were being sent; but it certainly is not.
                    self._again(piece, 0.0, "stopped before it was sent")
                else:
                    self._backlog.lanes.put_back(piece, 0.0)
            raise

    def _wait(self, now: float, rate: float, room: int) -> float | None:
        """Seconds until something may go without news; None when only news help."""
        if not self._connected or self._adapter is None or room <= 0:
            return None
        if now < self._paused_until:
            return self._paused_until - now
        if self._backlog.lanes.has_ready:  # there was no token for it
            return max(self._bucket.wait(rate), 0.001)
        due = self._backlog.lanes.next_due
        return None if due is None else max(due - now, 0.001)

    def _rate(self) -> float:
        platform = self._adapter.capabilities.messages_per_second if self._adapter else 0.0
        return self._section().rate_limit or platform

    async def _send(self, piece: Piece, adapter: ChannelAdapter) -> None:
        row = piece.row
        out = OutboundMessage(row.id, row.key, row.channel, row.chat, row.text, row.thread, row.quote)
        try:
            platform_id = await adapter.send(out)
            self._failpoints.hit("outbox.after_send")
        except asyncio.CancelledError:
            self._unknown(piece, adapter, "cut off while it was sent")
            raise
        except RateLimited as error:
            wait = self._retries.after(1) if error.retry_after is None else max(error.retry_after, 0.1)
            self._paused_until = max(self._paused_until, self._clock.monotonic() + wait)
            self._failed(piece, str(error), wait, counts=False)
        except ChannelUnavailable as error:
            self._failed(piece, str(error), error.retry_after)
        except SendRejected as error:
            self._give_up(piece, f"rejected: {error}")
        except Exception as error:  # whatever it is, nobody knows whether the message was sent
            log.warning("outbox_send_unknown", extra={"channel": self._channel, "row": row.id}, exc_info=error)
            self._unknown(piece, adapter, f"{type(error).__name__}: {error}")
        else:
            sent = self._clock.now()
            self.sent += 1
            self._marks.submit(lambda: self._store.mark_sent(row.id, platform_id, sent), self._marked)
            self._backlog.lanes.free(piece)
        finally:
            self._in_flight.pop(row.id, None)
            self._news()

    def _marked(self) -> None:
        self._failpoints.hit("outbox.after_mark_sent")
        self._news()

    def _admit(self, row: OutboxRow) -> bool:
        """Whether a row from the store is to be sent: one found `sending` was cut off by a crash."""
        if row.state is not OutboxState.SENDING or self._resends(self._adapter):
            return True
        self._backlog.note_given_up(row)
        self._letter(row, "ambiguous")
        return False

    def _resends(self, adapter: ChannelAdapter | None) -> bool:
        idempotent = adapter is not None and adapter.capabilities.idempotent_send
        return idempotent or self._section().ambiguous == "resend"

    def _unknown(self, piece: Piece, adapter: ChannelAdapter, reason: str) -> None:
        self._failed(piece, reason, None) if self._resends(adapter) else self._give_up(piece, "ambiguous")

    def _failed(self, piece: Piece, reason: str, retry_after: float | None, *, counts: bool = True) -> None:
        """Try again later, or give up after too many tries (those that count) or too long a time."""
        now = self._clock.monotonic()
        piece.tries += counts
        piece.failing_since = now if piece.failing_since is None else piece.failing_since
        delay = max(self._retries.after(piece.tries) if counts else 0.0, retry_after or 0.0)
        if piece.tries >= MAX_TRIES or now - piece.failing_since >= MAX_FAILING:
            self._give_up(piece, f"undeliverable: {reason}")
        else:
            self._again(piece, delay, reason)

    def _again(self, piece: Piece, delay: float, reason: str) -> None:
        row_id, when, why = piece.row.id, self._clock.now() + delay, reason[:_REASON_LENGTH]
        self._marks.submit(lambda: self._store.mark_retry(row_id, when, why))
        self._backlog.lanes.put_back(piece, self._clock.monotonic() + delay)

    def _give_up(self, piece: Piece, reason: str) -> None:
        """A dead letter, with the later pieces of its text; the chat goes on with what comes next."""
        self._backlog.give_up(piece)
        self._backlog.lanes.free(piece)
        self._letter(piece.row, reason)

    def _letter(self, row: OutboxRow, reason: str) -> None:
        reason, now = reason[:_REASON_LENGTH], self._clock.now()
        new_id, kind = self._ids.new(), DeadLetterKind.OUTBOUND
        letter = DeadLetter(new_id, kind, row.message_id, row.id, self._channel, reason, now)
        step = LedgerChange(row.message_id, LedgerState.DEAD_LETTERED, Step("dead_lettered", now, reason))
        log.warning("outbox_dead_letter", extra={"channel": self._channel, "row": row.id, "reason": reason})
        self._marks.submit(lambda: self._store.mark_dead(row.id, letter, step))

    def _news(self) -> None:
        self._wake.set()
        self._progress.set()
