"""How long to let frames gather that may go out in one: not at all while it is quiet, longer the more a frame costs.

In Python gRPC the cost is in the frame, not in what is in it. Who asks one thing after the other hardly waits; with
many under way, the hold after a frame is where the next ones come together.
"""

FACTOR = 2.0
"""Holds so many times what the frame before took."""
LONGEST = 0.004
"""Seconds that nothing is ever held beyond; a frame may take long because its reader is slow."""
MANY = 4
"""Frames in one that show that much is under way: an answer brings two of them."""
SHORTEST = 0.001
"""Seconds that the next one is held then: the loop's timers know no less, and would make nothing of a part of it."""


class Pace:
    """Of one connection. Times are by the monotonic clock."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = 0.0

    def sent(self, began: float, now: float, frames: int) -> None:
        """So many frames have gone to the transport in one."""
        least = SHORTEST if frames >= MANY else 0.0
        self._until = now + min(max(FACTOR * (now - began), least), LONGEST)

    def hold(self, now: float) -> float:
        """Seconds to wait before the next frame; none if not above 0."""
        return self._until - now
