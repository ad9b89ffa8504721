"""Waiting for the end of an execution that may have ended long ago."""

import asyncio

from gatewayd.core.clock import Clock
from gatewayd.core.errors import Draining, NotFound
from gatewayd.core.graph_result import GraphResult
from gatewayd.core.work import Execution
from gatewayd.routing.router import Submitted
from gatewayd.storage.base import Store


async def wait_for_end(
    submitted: Submitted, store: Store, clock: Clock, timeout: float | None
) -> tuple[Execution, GraphResult | None]:
    """The execution when it has ended, or as it is after `timeout` seconds (None: however long it takes).

    With it, what its graph came to, if it has ended and was one's.

    Whoever is cut off cancels nothing. Raises `Draining` when the daemon stops before, and `NotFound` for an execution
    that is no longer kept.
    """
    execution_id, live = submitted.accepted.execution_id, submitted.live
    if live is not None:
        try:
            async with clock.timeout(timeout):
                outcome = await asyncio.shield(live.done)
        except TimeoutError:
            outcome = None
        if outcome is not None and not outcome.state.terminal:
            raise Draining(
                f"the gateway stops; execution {execution_id} goes on after the next start",
                metadata={"execution_id": execution_id},
                retry_after=2.0,
            )
        if outcome is not None and (ended := live.ended(outcome)) is not None:
            return ended, live.graph  # as it was written: it need not be read
    execution = await store.get_execution(execution_id)
    if execution is None:
        raise NotFound(f"execution {execution_id} is no longer kept")
    return execution, await store.graph_result(execution_id) if execution.state.terminal else None
