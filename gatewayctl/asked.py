"""The words for what an execution asks, and for how it is answered."""

from __future__ import annotations

__all__ = ["how_to_answer", "it_asks"]


def it_asks(prompt: str) -> str:
    """The question, as one that was asked without words has it in a chat, too."""
    return f"it asks: {prompt.strip() or 'Please say how to go on.'}"


def how_to_answer(execution_id: str, node_id: str) -> str:
    """The command that answers it."""
    return f"gatewayctl executions input {execution_id} TEXT{f' --node {node_id}' if node_id else ''}"
