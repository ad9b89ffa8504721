"""Requests through the daemon with the SDK's clients, as `peers/autogen_requests.py` has them through AutoGen's host.

    python -m bench.events.sdk_requests --port PORT --token-file FILE

Orders are those of `asking`.
"""

import asyncio

from gateway.v1 import event_data_pb2, event_pb2, event_type_pb2

from bench.events.asking import main, take_orders
from gatewayctl.sdk.facade import Client


def event(target: str, correlation_id: str, text: str) -> event_pb2.Event:
    """A word to one client."""
    return event_pb2.Event(
        type=event_type_pb2.EVENT_TYPE_CUSTOM,
        custom_type="bench",
        ephemeral=True,
        target=target,
        correlation_id=correlation_id,
        custom=event_data_pb2.CustomData(content=text.encode(), content_type="text/plain"),
    )


class Asker:
    """Matches answers with questions."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked = 0
        self._waiting: dict[str, asyncio.Future[str]] = {}

    async def listen(self) -> None:
        """Take answers, for ever."""
        async for one in self._client.addressed():
            self._waiting.pop(one.correlation_id).set_result(one.custom.content.decode())

    async def ask(self, text: str) -> str:
        """The answer."""
        self._asked += 1
        name = str(self._asked)
        answer = self._waiting[name] = asyncio.get_running_loop().create_future()
        await self._client.publish(event("answerer", name, text))
        said: str = await answer
        return said


async def answer_all(client: Client) -> None:
    """Answer each question with itself, for ever."""
    running: set[asyncio.Task[str]] = set()
    async for one in client.addressed():
        task = asyncio.create_task(client.publish(event("asker", one.correlation_id, one.custom.content.decode())))
        running.add(task)
        task.add_done_callback(running.discard)


async def run(address: str, token: str) -> None:
    """Join the daemon and do as told."""
    async with (
        Client(address, token=token, client_id="asker") as asking,
        Client(address, token=token, client_id="answerer") as answering,
    ):
        asker = Asker(asking)
        tasks = [asyncio.create_task(asker.listen()), asyncio.create_task(answer_all(answering))]
        await take_orders(asker.ask)
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    main(__doc__, run)
