"""What an agent may do with the shared state: `ctx.state`."""

from collections.abc import Sequence
from typing import Any, Protocol

from gatewayd.core.state import StateEntry, StateScope
from gatewayd.core.value import value


@value(frozen=True, slots=True)
class StateSet:
    """One key of a transaction: it holds the value then, or is gone with None."""

    key: str
    value: Any
    scope: StateScope = StateScope.EXECUTION
    expected: int | None = None
    """The version that it must be at, 0 for a key that must not be there; None for any."""
    ttl: float | None = None
    """Seconds after which it goes by itself."""


class AgentState(Protocol):
    """Keys of the agent's execution, of its stream and of the gateway.

    Values are JSON and never None, which is what a key holds that is not there. A write is on disk when it returns.
    Raises `InvalidArgument` for what is no key or value, `LimitExceeded` for more than may be kept, and `StateConflict`
    when a key is not at the expected version; then nothing was written, and the agent reads again.

    What the isolation of the execution says: `isolated` has its own scope alone, any other is `InvalidArgument`;
    `synchronized` writes a stream's or the gateway's key only at the version that it has read last (0 if it never
    looked), unless it names another.
    """

    async def get(self, key: str, default: Any = None) -> Any:
        """The value in the execution, else in the stream, else in the gateway, else `default`."""
        ...

    async def entry(self, key: str, scope: StateScope | None = None) -> StateEntry | None:
        """The same with its version and place; with `scope` only what is there."""
        ...

    async def set(
        self, key: str, value: Any, *, scope: StateScope = StateScope.EXECUTION, ttl: float | None = None
    ) -> int:
        """Write one key; its version."""
        ...

    async def compare_and_set(
        self,
        key: str,
        value: Any,
        expected: int,
        *,
        scope: StateScope = StateScope.EXECUTION,
        ttl: float | None = None,
    ) -> int:
        """Write it if it is at that version (0: not there); its version now."""
        ...

    async def delete(self, key: str, *, scope: StateScope = StateScope.EXECUTION) -> None:
        """It is not there any more."""
        ...

    async def transact(self, writes: Sequence[StateSet]) -> list[int]:
        """Write up to 100 keys, all or nothing; their versions, 0 for what was not there to be deleted."""
        ...
