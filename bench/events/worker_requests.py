"""Requests to a remote agent through the daemon, by the SDK: one client asks, another is the worker that answers.

    python -m bench.events.worker_requests --port PORT --token-file FILE

Each question is an execution: it is on disk before it is handed to the worker, and its answer before it is told. An
entry point starts it, since that needs no session. Orders are those of `asking`.
"""

from bench.events.asking import main, take_orders
from gatewayctl.client import Call, Client

MAX_AT_ONCE = 64
"""Calls that the worker takes at a time."""


async def answer(call: Call) -> str:
    """The question."""
    return call.text


async def run(address: str, token: str) -> None:
    """Join the daemon and do as told."""
    async with (
        Client(address, token=token, client_id="asker") as asking,
        Client(address, token=token, client_id="worker") as working,
        working.serve_agent("echo", answer, max_concurrent=MAX_AT_ONCE),
    ):

        async def question(said: str) -> str:
            result = await asking.trigger_and_wait("ask", said)
            return result.output or f"{result.state}: {result.error}"

        await take_orders(question)


if __name__ == "__main__":
    main(__doc__, run)
