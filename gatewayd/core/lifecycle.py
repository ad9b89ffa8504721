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


class Change(Protocol):
    """One owner's part of a reload: the new is built beside the old, then swapped in, then the old is let go.

    `prepare` may await and fail; `commit` may do neither; `retire` cannot undo anything and only logs its failures.
    """

    async def prepare(self) -> None:
        """Build and start the new beside the old. Raise to refuse the whole reload."""
        ...

    def commit(self) -> None:
        """Make the new the current one. No await, no failure: all owners commit in one turn of the loop."""
        ...

    async def retire(self) -> None:
        """After the commit: drain and stop what left."""
        ...

    async def abandon(self) -> None:
        """Instead of the commit: undo `prepare`. Safe when `prepare` failed half-way or was never called."""
        ...
