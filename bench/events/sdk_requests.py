"""Requests through the daemon with the SDK's clients, as `peers/autogen_requests.py` has them through AutoGen's host.

    python -m events.sdk_requests --port PORT --token-file FILE

For each line `IN_FLIGHT SECONDS` on standard input it asks for so long and writes one line of JSON.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop
from gateway.v1 import event_data_pb2, event_pb2, event_type_pb2

from gatewayctl.sdk.facade import Client

BODY = 120
"""Characters in a question."""
ANSWER = 20.0


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


async def ask(asker: Asker, in_flight: int, seconds: float) -> dict[str, object]:
    """So many questions at a time, each compared with its answer."""
    waits: list[float] = []
    until = time.perf_counter() + seconds

    async def loop(number: int) -> None:
        turn = 0
        while time.perf_counter() < until:
            turn += 1
            said = f"{number}-{turn}".ljust(BODY)
            began = time.perf_counter()
            async with asyncio.timeout(ANSWER):
                answer = await asker.ask(said)
            waits.append(time.perf_counter() - began)
            if answer != said:
                raise SystemExit(f"asked {said!r}, answered {answer!r}")

    began = time.perf_counter()
    await asyncio.gather(*(loop(number) for number in range(in_flight)))
    return {"seconds": time.perf_counter() - began, "waits": waits}


async def run(port: int, token: str) -> None:
    """Join the daemon and do as told."""
    address = f"127.0.0.1:{port}"
    async with (
        Client(address, token=token, client_id="asker") as asking,
        Client(address, token=token, client_id="answerer") as answering,
    ):
        asker = Asker(asking)
        tasks = [asyncio.create_task(asker.listen()), asyncio.create_task(answer_all(answering))]
        print(json.dumps({"ready": True}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            in_flight, seconds = line.split()
            print(json.dumps(await ask(asker, int(in_flight), float(seconds))), flush=True)
        for task in tasks:
            task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    arguments = parser.parse_args()
    uvloop.run(run(arguments.port, arguments.token_file.read_text().strip()))


if __name__ == "__main__":
    main()
