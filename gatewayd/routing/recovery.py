"""What the last run of the daemon left unfinished."""

from dataclasses import replace

from gatewayd.core.clock import Clock
from gatewayd.core.work import ExecutionState
from gatewayd.routing.endings import Endings
from gatewayd.runtime.runtime import AgentRuntime
from gatewayd.runtime.suspending import RESTING
from gatewayd.storage.base import Store

MAX_ATTEMPTS = 3
"""Runs of one execution that a crash may cut off; then it is poison and becomes a dead letter."""


async def take_up(store: Store, endings: Endings, runtime: AgentRuntime, clock: Clock) -> int:
    """Queue it, from the last checkpoints on; what was paused or waits for input stays so. How many are taken up."""
    left = await store.unfinished()
    resting = [execution for execution in left if execution.state in RESTING]
    runtime.suspending.count(resting)
    for execution in left:
        if execution.state in RESTING:
            continue
        if execution.state is ExecutionState.RUNNING:
            if execution.attempts >= MAX_ATTEMPTS:
                why = f"it was cut off {execution.attempts} times"
                questions = await store.questions_of(execution.id)
                await store.finish(endings.give_up(execution, why, clock.now(), questions))
                continue
            await runtime.requeue(execution, "the gateway was cut off")
        runtime.submit(replace(execution, state=ExecutionState.QUEUED), resuming=True)
    return len(left) - len(resting)
