"""Asking an admission about a message, for as long as whoever sends it may wait."""

from typing import Any

from gatewayd.core.clock import Clock
from gatewayd.core.errors import DeadlineExceeded
from gatewayd.core.stepping import coroutine_of, resumed
from gatewayd.engine.base import Admission, Passage


async def admitted(admit: Admission, message: object, passage: Passage, deadline: float, clock: Clock) -> Any:
    """The message that may pass; raises what refuses it, and `DeadlineExceeded` after `deadline` (monotonic)."""
    deciding = coroutine_of(admit(message, passage))
    try:
        waits_for = deciding.send(None)
    except StopIteration as decided:  # one that waits for nothing needs no timer
        return decided.value
    try:
        async with clock.timeout(deadline - clock.monotonic()):
            return await resumed(deciding, waits_for)
    except TimeoutError:
        raise DeadlineExceeded(f"the admission of a message to {passage.receiver} took too long") from None
