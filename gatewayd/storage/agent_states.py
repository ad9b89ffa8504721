"""What agents of the message engine asked to find again.

Part of the store's contract (`base.Store` derives from it).
"""

from collections.abc import Awaitable
from typing import Protocol


class AgentStateTable(Protocol):
    """Texts by key."""

    def save_agent_state(self, key: str, state: str, now: float) -> Awaitable[None]:
        """Keep it under the key, in place of what was there; '' keeps nothing."""
        ...

    async def agent_state(self, key: str) -> str:
        """What was kept last; '' for nothing."""
        ...
