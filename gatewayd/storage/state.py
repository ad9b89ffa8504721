"""What the store keeps of the shared state.

Part of the store's contract (`base.Store` derives from it). A transaction is one unit: whether every key is at the
version that its writer expects is looked at where the units follow each other, so no update is ever lost between two
writers. The event that tells of a change is written with it, and gives the key its version.
"""

from asyncio import Future
from collections.abc import Mapping, Sequence
from typing import Protocol

from gatewayd.core.event import Event
from gatewayd.core.state import Place, StateEntry, StateLimits, StateScope
from gatewayd.core.value import value


@value(frozen=True, slots=True)
class StateWrite:
    """A key to be written or deleted, checked."""

    place: Place
    key: str
    text: str
    """The value as JSON; '' deletes the key."""
    event: Event
    """The envelope of the event that will tell of it; the store fills in type and data."""
    expected: int | None = None
    """The version that the key must be at, 0 for none; None for any."""
    expires: float = 0.0


@value(frozen=True, slots=True)
class StateMismatch:
    """A key that was not at the version that was expected."""

    place: Place
    key: str
    expected: int
    actual: int


@value(frozen=True, slots=True)
class StateOutcome:
    """What became of a transaction: with `mismatches` nothing was written, and events told of the conflicts."""

    entries: tuple[StateEntry, ...] = ()
    """The keys as they are now, in the order of the writes."""
    mismatches: tuple[StateMismatch, ...] = ()


@value(frozen=True, slots=True)
class StateTotals:
    """How much is kept."""

    keys: Mapping[StateScope, int]
    """By scope; a scope without keys is not there."""
    size: int
    """Bytes, counted as `StateLimits.total_bytes` is."""


class StateTables(Protocol):
    """See the module's docstring, and `storage.base` for what holds for every method."""

    def write_state(
        self, writes: Sequence[StateWrite], *, writer: str, now: float, limits: StateLimits
    ) -> Future[StateOutcome]:
        """All or nothing. What has expired at `now` counts as not there; deleting what is not there changes nothing.

        `NotFound` and `ExecutionFinished` for the place of an execution that is not kept, or has ended;
        `LimitExceeded` for more than may be kept.
        """
        ...

    def drop_expired_state(self, writes: Sequence[StateWrite], now: float) -> Future[int]:
        """Delete those that are at the expected version still and have expired; how many."""
        ...

    async def read_state(self, wanted: Sequence[tuple[Place, str]]) -> list[StateEntry]:
        """Those that there are, expired ones included, as of one moment and in no order."""
        ...

    async def list_state(self, place: Place, after: str, limit: int) -> list[StateEntry]:
        """The keys of a place by name, those behind `after`, expired ones included."""
        ...

    async def state_totals(self) -> StateTotals:
        """How much there is, what has expired included."""
        ...

    async def expired_state(self, now: float, limit: int) -> list[StateEntry]:
        """What has expired, longest ago first."""
        ...
