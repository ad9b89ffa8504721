"""The words for what an execution asks, for how it is answered, and for how its end is waited for."""

from __future__ import annotations

__all__ = ["how_to_answer", "how_to_wait", "it_asks"]


def it_asks(prompt: str) -> str:
    """The question, as one that was asked without words has it in a chat, too."""
    return f"it asks: {prompt.strip() or 'Please say how to go on.'}"


def how_to_wait(execution_id: str) -> str:
    """What to do after the waiting for its end was cut off: asking for it again would start another."""
    return f"what was started stays: gatewayctl executions watch {execution_id} waits for its end"


def how_to_answer(execution_id: str, node_id: str) -> str:
    """The command that answers it."""
    return f"gatewayctl executions input {execution_id} TEXT{f' --node {node_id}' if node_id else ''}"
