"""Named points in the life of a message where a test may make the daemon die or fail.

Production passes `NO_FAILPOINTS`. `gatewayd.testing.crashing` passes one that kills the process at a point, so that
the promise about crashes is proved at each of them and not only at random instants.
"""

from typing import Final, Protocol

POINTS: Final = (
    "store.before_commit",
    "store.after_commit",
    "router.after_accept",
    "runtime.before_finish",
    "router.after_finish",
    "outbox.after_mark_sending",
    "outbox.after_send",
    "outbox.after_mark_sent",
)
"""All points, in the order in which one message passes them."""


class Failpoints(Protocol):
    def hit(self, point: str) -> None:
        """Called at the point; may raise, or never return. Called from any thread."""
        ...


class _NoFailpoints:
    def hit(self, point: str) -> None:  # noqa: ARG002 - the protocol's name
        return None


NO_FAILPOINTS: Final[Failpoints] = _NoFailpoints()
