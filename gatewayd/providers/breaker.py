"""Circuit breakers: a model that keeps failing is left alone for a while, so that turns do not wait for it in vain.

One breaker per (model, base_url), shared by all agents and kept over reloads. Closed: calls pass. After
`FAILURES` failures in a row it is open and no call passes. After its rest it is half-open: one call passes as a
probe; if that succeeds the breaker closes, else it rests twice as long.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

from gatewayd.core.clock import Clock
from gatewayd.core.value import value

FAILURES: Final = 5
"""Failures in a row that open a breaker."""
FIRST_REST: Final = 30.0
"""Seconds of the first rest; each rest after a failed probe is twice the one before."""
LONGEST_REST: Final = 300.0
"""Seconds of the longest rest, also where a provider asks for a longer one."""


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@value(frozen=True, slots=True)
class BreakerStats:
    """What an operator may want to know of one model."""

    model: str
    base_url: str
    state: BreakerState
    calls: int
    failures: int
    failures_in_row: int
    retry_in: float
    """Seconds until the next probe; 0 unless open."""


class Breaker:
    """One model's breaker. Whoever was admitted reports exactly one of `succeeded`, `failed` and `abandoned`."""

    def __init__(self, model: str, base_url: str, clock: Clock) -> None:
        self._model = model
        self._base_url = base_url
        self._clock = clock
        self._open_until: float | None = None
        self._rest = FIRST_REST
        self._probing = False
        self._row = 0
        self._calls = 0
        self._failures = 0

    @property
    def state(self) -> BreakerState:
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._clock.monotonic() < self._open_until else BreakerState.HALF_OPEN

    @property
    def retry_in(self) -> float:
        """Seconds until a call may pass; 0 when one may pass now."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock.monotonic())

    def admit(self) -> bool:
        """Whether a call may be made now."""
        state = self.state
        if state is BreakerState.OPEN or (state is BreakerState.HALF_OPEN and self._probing):
            return False
        self._probing = state is BreakerState.HALF_OPEN
        self._calls += 1
        return True

    def succeeded(self) -> None:
        """The server answered; a refusal of this one request counts as an answer."""
        self._row = 0
        self._open_until = None
        self._rest = FIRST_REST
        self._probing = False

    def failed(self, retry_after: float | None = None) -> None:
        """The server did not answer; `retry_after` is what it asked for, in seconds."""
        self._row += 1
        self._failures += 1
        if self._open_until is not None and not self._probing:
            return  # a call from before it opened: the failure is known already
        if self._probing:
            self._rest = min(self._rest * 2, LONGEST_REST)
        if self._probing or self._row >= FAILURES:
            rest = min(max(self._rest, retry_after or 0.0), LONGEST_REST)
            self._open_until = self._clock.monotonic() + rest
        self._probing = False

    def abandoned(self) -> None:
        """The call was given up before it showed anything, as by a cancelled turn."""
        self._probing = False

    def stats(self) -> BreakerStats:
        return BreakerStats(
            self._model, self._base_url, self.state, self._calls, self._failures, self._row, self.retry_in
        )


class Breakers:
    """All breakers of the daemon."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._breakers: dict[tuple[str, str], Breaker] = {}

    def get(self, model: str, base_url: str) -> Breaker:
        """The breaker of a model, made when it is asked for first."""
        key = (model, base_url)
        if key not in self._breakers:
            self._breakers[key] = Breaker(model, base_url, self._clock)
        return self._breakers[key]

    def keep(self, keys: Iterable[tuple[str, str]]) -> None:
        """Forget all others; called after a reload, so that their number is bounded by the configuration."""
        wanted = set(keys)
        self._breakers = {key: breaker for key, breaker in self._breakers.items() if key in wanted}

    def stats(self) -> Sequence[BreakerStats]:
        return [breaker.stats() for breaker in self._breakers.values()]
