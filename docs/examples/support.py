"""Functions of the graph in docs/reference/graphs.md."""

from gatewayd.agents.base import AgentFailed
from gatewayd.agents.graph.functions import NodeCall

KINDS = {"refund": ("money", "refund"), "time": ("time", "open")}


async def sort(call: NodeCall) -> object:
    """What somebody wants, by the words that they use."""
    words = call.task.lower().replace("?", " ").split()
    for kind, known in KINDS.items():
        if any(word in words for word in known):
            return {"kind": kind, "order": next((word for word in words if word.isdigit()), None)}
    return {"kind": "other"}


async def refund(call: NodeCall) -> str:
    """Pay back an order: once for each key, however often this is called."""
    order = call.arguments["order"]
    if order is None:
        raise AgentFailed("Which order? I found no number.")
    return f"Order {order} is refunded ({call.idempotency_key[:8]})."
