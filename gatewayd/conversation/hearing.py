"""Those who are refused may finish what they say."""

import contextlib

from gatewayd.conversation.link import Link
from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError

HEAR_OUT = 1.0
"""Seconds that one who is refused is given to finish the first frame."""
AT_ONCE = 100
"""Refused ones that are heard out at a time; a flood of more is refused as it comes."""


class Hearing:
    """Of one gateway, over all doors."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._listening = 0

    async def out(self, link: Link) -> None:
        """To be called before a stream is refused on which nothing was read.

        A client whose first frame is under way when the refusal comes would be told by its gRPC of that alone.
        """
        if self._listening >= AT_ONCE:
            return
        self._listening += 1
        try:
            with contextlib.suppress(TimeoutError, GatewayError, link.gone):
                async with self._clock.timeout(HEAR_OUT):
                    await link.read()
        finally:
            self._listening -= 1
