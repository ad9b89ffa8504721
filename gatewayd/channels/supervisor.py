"""Keeps one channel connected: runs its adapter again and again, and tells how it is.

Three clocks say how alive a channel is: the last frame of the transport, the last heartbeat of the platform, the last
message. Only the first decides anything: a connection without a frame for `transport_timeout` is DEGRADED, and after
as much time again it is made anew. Users who say nothing are no failure. Owned by the manager.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gatewayd.channels.base import (
    ChannelAdapter,
    ChannelAuthError,
    ChannelConflict,
    ChannelState,
    ChannelStatus,
    ChannelUnavailable,
    Inbox,
)
from gatewayd.channels.pace import Backoff
from gatewayd.channels.vitals import OnState, Vitals
from gatewayd.core.clock import Clock, Randomness
from gatewayd.core.message import InboundMessage
from gatewayd.service import TaskSet

log = logging.getLogger(__name__)

CLOSE_TIMEOUT: Final = 5.0
"""Seconds that an adapter has to end after it was told to."""
_STABLE: Final = 30.0
"""Seconds of READY after which a channel counts as well, and the next failure starts from the shortest delay."""


class ChannelSupervisor:
    """One adapter's life. `begin` and the operator's verbs are called on the loop; none of them raises."""

    def __init__(
        self,
        name: str,
        platform: str,
        adapter: ChannelAdapter,
        inbox: Inbox,
        *,
        clock: Clock,
        randomness: Randomness,
        on_state: OnState,
        queued: Callable[[], int] = lambda: 0,
    ) -> None:
        self.adapter = adapter
        self._inbox = inbox
        self._clock = clock
        self._randomness = randomness
        self._backoff = Backoff(randomness)
        self._vitals = Vitals(name, platform, clock, on_state, queued)
        self._life: asyncio.Task[None] | None = None
        self._lives = TaskSet(f"channel {name}")
        """The life, and older ones that did not end when they were told to: nothing new begins before their end."""
        self._verbs = asyncio.Lock()
        self._attempt = 0

    @property
    def status(self) -> ChannelStatus:
        return self._vitals.status

    def begin(self) -> None:
        """Start to connect; does nothing while it is at it."""
        if self._life is None:
            self._life = self._lives.start(self._live(), name="life")

    async def settled(self, timeout: float) -> None:
        """Wait until it is known how the first attempt went, at most `timeout` seconds."""
        with suppress(TimeoutError):
            async with self._clock.timeout(timeout):
                await self._vitals.told.wait()

    async def pause(self) -> None:
        """Disconnect until `resume`: an operator wants it."""
        async with self._verbs:
            await self._halt(CLOSE_TIMEOUT)
            self._vitals.become(ChannelState.PAUSED, "paused by an operator")

    async def resume(self) -> None:
        """Connect again after `pause`."""
        async with self._verbs:
            if self.status.state is ChannelState.PAUSED:
                self._backoff.reset()
                self.begin()

    async def reconnect(self) -> None:
        """Drop the connection and make a new one now, also out of FAILED."""
        async with self._verbs:
            await self._halt(CLOSE_TIMEOUT)
            self._backoff.reset()
            self.begin()

    async def stop_receiving(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Take in nothing more; what is queued may still be sent if the channel was up."""
        async with self._verbs:
            up = self.status.state in (ChannelState.READY, ChannelState.DEGRADED)
            await self._halt(timeout)
            if up:
                self._vitals.become(ChannelState.DEGRADED, "draining: nothing more is received")

    async def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """End for good. An adapter that has not ended after `timeout` seconds is named in the log."""
        async with self._verbs:
            await self._halt(timeout)
            self._vitals.become(ChannelState.STOPPED, "")
        try:
            async with self._clock.timeout(timeout):
                await self.adapter.close()
        except Exception:  # the boundary to the adapter's code: a close that fails holds nobody up
            log.exception("channel_close_failed", extra={"channel": self._vitals.name})

    async def _halt(self, timeout: float) -> None:
        """Cancel the life and wait for its end. Not reentrant: callers hold `_verbs`."""
        life, self._life = self._life, None
        self._attempt += 1  # what the old adapter still tells is nobody's any more
        if life is not None:
            life.cancel()
        with suppress(TimeoutError):
            async with self._clock.timeout(timeout):
                await self._lives.wait()
        if self._lives:
            log.error("channel_does_not_end", extra={"channel": self._vitals.name, "timeout": timeout})

    async def _live(self) -> None:
        while True:
            if len(self._lives) > 1:
                # Two connections with one token would throw each other out.
                self._vitals.become(ChannelState.RETRYING, "the old connection has not ended yet")
                await self._lives.wait()
            self._vitals.attempt()
            verdict = await self._attempt_once()
            if self._vitals.was_well_for(_STABLE):
                self._backoff.reset()
            if verdict is None:
                self._vitals.become(ChannelState.STOPPED, "the platform has nothing more")
                return
            if isinstance(verdict, ChannelAuthError):
                self._vitals.become(ChannelState.FAILED, str(verdict))
                return
            delay, reason = self._judge(verdict)
            self._vitals.become(ChannelState.RETRYING, reason, retry_time=self._clock.now() + delay)
            await self._clock.sleep(delay)

    def _judge(self, verdict: Exception) -> tuple[float, str]:
        """How long to wait, and why."""
        if isinstance(verdict, ChannelConflict):
            # The other connection may be our own last one, of which the platform does not know that it is dead.
            wait = max(self.adapter.capabilities.conflict_wait, verdict.retry_after or 0.0)
            return wait + self._backoff.delay(), str(verdict)
        if isinstance(verdict, ChannelUnavailable):
            return self._backoff.delay(verdict.retry_after or 0.0), str(verdict)
        log.error("channel_defect", extra={"channel": self._vitals.name}, exc_info=verdict)
        return self._backoff.delay(), f"a defect: {type(verdict).__name__}"

    async def _attempt_once(self) -> Exception | None:
        """Run the adapter under the watch of the transport clock; the verdict, None when it came to its end."""
        self._attempt += 1
        pulse = _Pulse(self, self._attempt)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self._run(pulse))
            return await self._watch(running)

    async def _run(self, pulse: "_Pulse") -> Exception | None:
        async def inbox(message: InboundMessage) -> None:
            self._vitals.frame(message=True)
            await self._inbox(message)

        try:
            await self.adapter.run(inbox, pulse)
        except Exception as error:  # the boundary to the adapter's code: every end is a verdict
            return error
        return None

    async def _watch(self, running: "asyncio.Task[Exception | None]") -> Exception | None:
        patience = self.adapter.capabilities.transport_timeout
        while not running.done():
            quiet = self._vitals.quiet()
            if quiet >= 2 * patience:
                running.cancel()
                await asyncio.wait([running])
                return ChannelUnavailable(f"no sign of life from the platform for {quiet:.0f} s")
            if quiet >= patience:
                self._vitals.stale(quiet)
            wait = (2 if quiet >= patience else 1) * patience - quiet
            with suppress(TimeoutError):
                async with self._clock.timeout(None if wait == float("inf") else max(wait, 0.01)):
                    await asyncio.wait([running])
        # An adapter that is cancelled by something of its own has failed; our own cancellation does not come here.
        return ChannelUnavailable("the connection was cancelled") if running.cancelled() else running.result()


class _Pulse:
    """What one attempt's adapter may tell; once the attempt is over it tells nobody."""

    def __init__(self, supervisor: ChannelSupervisor, attempt: int) -> None:
        self._supervisor = supervisor
        self._attempt = attempt

    def ready(self, account: str = "") -> None:
        if self._current:
            self._supervisor._vitals.ready(account)

    def frame(self) -> None:
        if self._current:
            self._supervisor._vitals.frame()

    def heartbeat(self) -> None:
        if self._current:
            self._supervisor._vitals.heartbeat()

    @property
    def _current(self) -> bool:
        return self._supervisor._attempt == self._attempt
