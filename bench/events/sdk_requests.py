"""Requests through the daemon with the SDK's clients, as `peers/autogen_requests.py` has them through AutoGen's host.

    python -m bench.events.sdk_requests --port PORT --token-file FILE

Orders are those of `asking`.
"""

import asyncio

from gateway.v1 import event_data_pb2, event_pb2, event_type_pb2

from bench.events.asking import main, take_orders
from gatewayctl.sdk.facade import Client


def event(text: str, target: str = "") -> event_pb2.Event:
    """A word to one client."""
    return event_pb2.Event(
        type=event_type_pb2.EVENT_TYPE_CUSTOM,
        custom_type="bench",
        ephemeral=True,
        target=target,
        custom=event_data_pb2.CustomData(content=text.encode(), content_type="text/plain"),
    )


async def answer_all(client: Client) -> None:
    """Answer each question with itself, for ever."""
    running: set[asyncio.Task[str]] = set()
    async for one in client.addressed():
        task = asyncio.create_task(client.answer(one, event(one.custom.content.decode())))
        running.add(task)
        task.add_done_callback(running.discard)


async def run(address: str, token: str) -> None:
    """Join the daemon and do as told."""
    async with (
        Client(address, token=token, client_id="asker") as asking,
        Client(address, token=token, client_id="answerer") as answering,
    ):

        async def ask(text: str) -> str:
            return (await asking.request(event(text, "answerer"))).custom.content.decode()

        task = asyncio.create_task(answer_all(answering))
        await take_orders(ask)
        task.cancel()


if __name__ == "__main__":
    main(__doc__, run)
