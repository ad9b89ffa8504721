"""The step that moves money. The books stand for a bank that takes each key once."""

import json
import os
from pathlib import Path

from gatewayd.agents.base import AgentFailed
from gatewayd.agents.graph.functions import NodeCall


async def refund(call: NodeCall) -> str:
    """Pay back an order. The key is the same for each try, also after a crash: so it is paid once."""
    amount, books = str(call.arguments["amount"]), Path(call.arguments["books"])
    if not amount:
        raise AgentFailed("There is nothing to pay back.")
    entry = {"key": call.idempotency_key, "order": call.arguments["order"], "amount": amount}
    if all(known["key"] != entry["key"] for known in entries(books)):
        with books.open("a") as lines:
            lines.write(json.dumps(entry, ensure_ascii=False) + "\n")
            lines.flush()
            os.fsync(lines.fileno())
    return f"We pay {amount} back to you."


def entries(books: Path) -> list[dict[str, str]]:
    """What was paid back so far."""
    return [json.loads(line) for line in books.read_text().splitlines()] if books.exists() else []
