"""What the store keeps for entry points: how far each has read the events, how far goals are, and results.

Part of the store's contract (`base.Store` derives from it).
"""

from collections.abc import Awaitable, Sequence
from typing import Protocol

from gatewayd.core.event import Event
from gatewayd.core.graph_result import GraphResult


class EntryPointTables(Protocol):
    """See the module's docstring."""

    async def marks(self, prefix: str) -> dict[str, str]:
        """All marks whose name begins so."""
        ...

    def set_mark(self, name: str, value: str, events: Sequence[Event] = ()) -> Awaitable[None]:
        """Keep a text under a name, in place of the one before, with the events that tell of it."""
        ...

    def forget_mark(self, name: str) -> Awaitable[None]:
        """Keep it no longer; nothing happens if there is none."""
        ...

    async def knows(self, scope: str, dedupe_id: str) -> bool:
        """Whether a unit with that `dedupe_scope` and `dedupe_id` was accepted before, and `accept` would know it."""
        ...

    async def followers(self, *, session_id: str = "", principal: str = "") -> list[str]:
        """Executions without a session that hold words of that session, or belong to that principal; oldest first.

        Those that its events have started, those that events of these have started, and so on. It looks through all
        that events have started: not for every minute.
        """
        ...

    def erase_executions(self, execution_ids: Sequence[str]) -> Awaitable[int]:
        """Delete what was said in them, as `erase_session` does; how many events that went over."""
        ...

    async def drop_results(self, *, keep: int, before: float) -> int:
        """Delete ended executions of entry points: all but the newest `keep`, and those that ended before `before`.

        In bounded bites; one whose story has not ended stays. How many are gone.
        """
        ...

    async def graph_result(self, execution_id: str) -> GraphResult | None:
        """What an execution of a graph came to, from its end on; None for any other."""
        ...
