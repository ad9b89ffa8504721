"""What every long-lived part promises about its life."""

from enum import StrEnum
from typing import Protocol


class State(StrEnum):
    """Where a part is in its life."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


class Service(Protocol):
    """A long-lived part. `ServiceGroup` starts in order and stops in reverse, each step under a deadline."""

    name: str

    async def start(self) -> None:
        """Become ready; on failure leave nothing behind."""
        ...

    async def drain(self) -> None:
        """Take nothing new and finish what was taken; may be cut short by its deadline."""
        ...

    async def stop(self) -> None:
        """Release everything now. Safe after a failed start and when called twice."""
        ...
