"""How one channel is: its state, since when and why, and its clocks. Written by the supervisor, read by everybody."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from gatewayd.channels.base import ChannelState, ChannelStatus
from gatewayd.core.clock import Clock

log = logging.getLogger(__name__)

OnState = Callable[[ChannelStatus, ChannelStatus], None]
"""Told of a change, with the status before and after it."""


class Vitals:
    """State and clocks; tells `on_state` (old, new) about every change of state or of its reason."""

    def __init__(
        self,
        name: str,
        platform: str,
        clock: Clock,
        on_state: OnState,
        queued: Callable[[], int],
    ) -> None:
        self.name = name
        self.told = asyncio.Event()
        """Set once it is known how the first attempt to connect went."""
        self._clock = clock
        self._on_state = on_state
        self._queued = queued
        self._status = initial(name, platform, clock.now())
        self._frame_at = clock.monotonic()
        self._ready_at: float | None = None
        self._attempts = 0
        # Beside the status, which is made anew when somebody asks and not with every message.
        self._last_frame = self._last_heartbeat = self._last_message = 0.0

    @property
    def status(self) -> ChannelStatus:
        return replace(
            self._status,
            last_frame=self._last_frame,
            last_heartbeat=self._last_heartbeat,
            last_message=self._last_message,
            queued=self._queued(),
        )

    def become(self, state: ChannelState, reason: str, retry_time: float = 0.0) -> None:
        """Enter a state; nothing happens if it is in it for this very reason."""
        old = self.status
        if state is not ChannelState.STARTING:
            self.told.set()
        if (old.state, old.reason) == (state, reason) and not retry_time:
            return
        since = old.since if old.state is state else self._clock.now()
        self._status = replace(self._status, state=state, reason=reason, since=since, retry_time=retry_time)
        tell(self._on_state, old, self.status)

    def attempt(self) -> None:
        """A connection is being made; the transport's clock starts anew."""
        self._frame_at = self._clock.monotonic()
        self._ready_at = None
        self._status = replace(self._status, restarts=self._attempts)
        self._attempts += 1
        self.become(ChannelState.STARTING, "")

    def ready(self, account: str) -> None:
        self._status = replace(self._status, account=account or self._status.account)
        self._ready_at = self._clock.monotonic() if self._ready_at is None else self._ready_at
        self.frame()
        self.become(ChannelState.READY, "")

    def frame(self, *, message: bool = False) -> None:
        """Something came; a stale connection is well again."""
        self._last_frame = self._clock.now()
        self._frame_at = self._clock.monotonic()
        if message:
            self._last_message = self._last_frame
        if self._status.state is ChannelState.DEGRADED:
            self.become(ChannelState.READY, "")

    def heartbeat(self) -> None:
        self._last_heartbeat = self._clock.now()
        self.frame()

    def stale(self, quiet: float) -> None:
        """The transport is silent for too long: whatever the socket says, this is not healthy."""
        if self._status.state is ChannelState.READY:
            self.become(ChannelState.DEGRADED, f"nothing came from the platform for {quiet:.0f} s")

    def quiet(self) -> float:
        """Seconds since the last frame, or since the attempt began."""
        return self._clock.monotonic() - self._frame_at

    def was_well_for(self, seconds: float) -> bool:
        """Whether the attempt that ended was READY for that long."""
        return self._ready_at is not None and self._clock.monotonic() - self._ready_at >= seconds


def initial(
    name: str, platform: str, now: float, state: ChannelState = ChannelState.STARTING, reason: str = ""
) -> ChannelStatus:
    """A status without a history."""
    return ChannelStatus(
        name=name,
        platform=platform,
        state=state,
        reason=reason,
        account="",
        since=now,
        retry_time=0.0,
        last_frame=0.0,
        last_heartbeat=0.0,
        last_message=0.0,
        restarts=0,
        queued=0,
    )


def tell(on_state: OnState, old: ChannelStatus, new: ChannelStatus) -> None:
    """Tell a listener; no failure of theirs disconnects a channel or stops a reload."""
    try:
        on_state(old, new)
    except Exception:
        log.exception("channel_state_not_told", extra={"channel": new.name})
