"""The words for what an execution asks, for how it is answered, and for how its end is waited for."""

from __future__ import annotations

from collections.abc import Callable

from gatewayctl.failures import INTERRUPTED, Failure

__all__ = ["LOOK", "how_to_answer", "how_to_wait", "interrupted", "it_asks"]

LOOK = 5.0
"""Seconds in which the daemon says, after an interrupt, what has been started."""


def it_asks(prompt: str) -> str:
    """The question, as one that was asked without words has it in a chat, too."""
    return f"it asks: {prompt.strip() or 'Please say how to go on.'}"


def how_to_wait(execution_id: str) -> str:
    """What to do after the waiting for its end was cut off: asking for it again would start another."""
    return f"what was started stays: gatewayctl executions watch {execution_id} waits for its end"


def interrupted(started: Callable[[], tuple[str, bool]]) -> Failure:
    """What to say after Ctrl-C cut off the waiting. `started` gives the execution, and whether it has ended."""
    try:
        execution_id, ended = started()
    except Failure as failure:
        execution_id, ended = failure.execution_id, False
    if not execution_id:
        told = "whether it was started is not known: gatewayctl executions lists what runs"
    elif ended:
        told = f"it has ended meanwhile: gatewayctl executions show {execution_id} tells how"
    else:
        see, end = f"gatewayctl executions show {execution_id}", f"executions cancel {execution_id}"
        told = f"it goes on: {see} looks at it, {end} ends it"
    return Failure(f"interrupted; {told}", INTERRUPTED)


def how_to_answer(execution_id: str, node_id: str) -> str:
    """The command that answers it."""
    return f"gatewayctl executions input {execution_id} TEXT{f' --node {node_id}' if node_id else ''}"
