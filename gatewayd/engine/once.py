"""Calls with an idempotency key: the same key from the same sender to the same agent is handled once.

A sender may work for many: what it was told for one principal is no outcome for another.
"""

import asyncio
from collections import OrderedDict
from typing import Any

from gatewayd.core.agents import AgentId
from gatewayd.core.clock import Clock
from gatewayd.core.errors import Cancelled, DeadlineExceeded, IdConflict
from gatewayd.core.value import value
from gatewayd.engine.call import Call
from gatewayd.engine.cancellation import CancellationToken

OnceKey = tuple[str, AgentId | None, AgentId, str]
"""Principal, sender, recipient and key."""


@value(frozen=True, slots=True)
class _Kept:
    message: object
    call: Call
    until: float


class Once:
    """The calls that are remembered: a bounded number, each for a bounded time.

    A call that ended before its handler began (withdrawn, or its agent not made) is not remembered: asking again is
    safe. One that was cut off while its handler ran is: nobody knows how far it came, so it is not run again.
    """

    def __init__(self, clock: Clock, *, most: int, seconds: float) -> None:
        self._clock = clock
        self._most = most
        self._seconds = seconds
        self._kept: OrderedDict[OnceKey, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: OnceKey, message: object) -> Call | None:
        """The call that was made with this key; `IdConflict` if it had another message."""
        now = self._clock.monotonic()
        while self._kept and next(iter(self._kept.values())).until <= now:
            self._kept.popitem(last=False)
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.call.ended and not kept.call.begun:
            del self._kept[key]
            return None
        if type(kept.message) is not type(message) or kept.message != message:
            raise IdConflict("the idempotency key was used for another message", metadata={"idempotency_key": key[-1]})
        return kept.call

    def keep(self, call: Call, key: str, message: object) -> None:
        """Remember it; the oldest gives way."""
        waiter = call.waiter
        assert waiter is not None
        # Somebody may ask again, or nobody: a failure that was told once is not to be complained of.
        waiter.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        whole = (call.belonging.principal, call.sender, call.lane.id, key)
        self._kept[whole] = _Kept(message, call, self._clock.monotonic() + self._seconds)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    async def follow(self, call: Call, deadline: float, token: CancellationToken | None) -> Any:
        """What another asker's call came to; `DeadlineExceeded` and `Cancelled` are of this asking alone."""
        assert call.waiter is not None
        followed = asyncio.shield(call.waiter)
        if token is not None:
            token.link_future(followed)
        try:
            async with self._clock.timeout(max(0.0, deadline - self._clock.monotonic())):
                return await followed
        except TimeoutError:
            raise DeadlineExceeded(f"{call.lane.id} did not answer in time") from None
        except asyncio.CancelledError:
            if token is not None and token.is_cancelled():
                raise Cancelled("cancelled while it waited for the first call of its key") from None
            raise
