"""What runs beside everything else until it is closed: it waits for something, and starts work."""

import asyncio
from abc import ABC, abstractmethod


class Feed(ABC):
    """`task` is given by whoever owns it, and runs `run`."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None

    @abstractmethod
    async def run(self) -> None:
        """Until it is cancelled."""

    def close(self) -> None:
        """Begin to end."""
        if self.task is not None:
            self.task.cancel()

    async def ended(self) -> None:
        """Until it has ended."""
        if self.task is not None:
            await asyncio.wait([self.task])
