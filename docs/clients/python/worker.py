"""Answers for an agent that gateway.yaml declares with `remote: true`, word by word, until it is told to stop.

GATEWAYD_ADDRESS=127.0.0.1:8765 GATEWAYD_TOKEN=… python worker.py [AGENT [CLIENT-ID]]
"""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial

from gatewayctl.client import Call, CallFailed, Client, ClientClosed, GatewayError, new_event

PAUSE = 0.05
"""Seconds between two words, as if they were hard to find."""


async def look_up(client: Client, call: Call) -> AsyncIterator[str]:
    """The answer, in pieces. It is cancelled when nobody waits for it any more."""
    found = re.search(r"order (\d+)", call.text, re.IGNORECASE)
    if found is None:
        raise CallFailed('Ask me for an order, such as "order 7".')
    number = found[1]
    try:
        # What it does for its answer is an event of the execution, for whoever may see that.
        data = {"tool_use_id": "look-up", "tool_name": "orders", "tool_input": {"order": number}}
        await client.publish(new_event("tool_call_started", data, execution_id=call.execution_id))
        words = f"Order {number}: {number} × A-{number}, paid, packed, handed over and on its way to Zürich 🚚".split()
        yield words[0]
        while True:
            for word in words[1:]:
                await asyncio.sleep(PAUSE)
                yield f" {word}"
            if not re.search("watch", call.text, re.IGNORECASE):
                break  # "watch order 7" is told again and again, until nobody wants to know any more
    except asyncio.CancelledError:
        print(json.dumps({"step": "cancelled", "call": call.call_id}), flush=True)
        raise
    print(json.dumps({"step": "answered", "call": call.call_id}), flush=True)


async def main(agent: str = "lookup", client_id: str = "worker-python") -> None:
    # The client id is how a worker that was cut off is known again: give each process one of its own.
    async with Client(client_id=client_id) as client, client.serve_agent(agent, partial(look_up, client)) as serving:
        print(json.dumps({"step": "registered", "agent": agent}), flush=True)
        # It serves until a signal comes; leaving the block takes no more calls, and answers those that are here.
        over = asyncio.create_task(serving.wait())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, over.cancel)
        await asyncio.wait((over,))
        if not over.cancelled():
            over.result()


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except ClientClosed:
        pass
    except GatewayError as error:
        sys.exit(error.message)
