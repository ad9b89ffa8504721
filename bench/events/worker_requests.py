"""Requests to a remote agent through the daemon, by the SDK: one client asks, another is the worker that answers.

    python -m events.worker_requests --port PORT --token-file FILE

Each question is an execution: it is on disk before it is handed to the worker, and its answer before it is told. For
each line `IN_FLIGHT SECONDS` on standard input it asks for so long and writes one line of JSON.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

from events.sdk_requests import ANSWER, BODY
from gatewayctl.client import Call, Client

MAX_AT_ONCE = 64
"""Calls that the worker takes at a time."""


async def answer(call: Call) -> str:
    """The question."""
    return call.text


async def ask(client: Client, in_flight: int, seconds: float) -> dict[str, object]:
    """So many questions at a time, each compared with its answer; an entry point, since that needs no session."""
    waits: list[float] = []
    until = time.perf_counter() + seconds

    async def loop(number: int) -> None:
        turn = 0
        while time.perf_counter() < until:
            turn += 1
            said = f"{number}-{turn}".ljust(BODY)
            began = time.perf_counter()
            async with asyncio.timeout(ANSWER):
                result = await client.trigger_and_wait("ask", said)
            waits.append(time.perf_counter() - began)
            if result.output != said:
                raise SystemExit(f"asked {said!r}, answered {result.output!r} ({result.state}, {result.error})")

    began = time.perf_counter()
    await asyncio.gather(*(loop(number) for number in range(in_flight)))
    return {"seconds": time.perf_counter() - began, "waits": waits}


async def run(port: int, token: str) -> None:
    """Join the daemon and do as told."""
    address = f"127.0.0.1:{port}"
    async with (
        Client(address, token=token, client_id="asker") as asking,
        Client(address, token=token, client_id="worker") as working,
        working.serve_agent("echo", answer, max_concurrent=MAX_AT_ONCE),
    ):
        print(json.dumps({"ready": True}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            in_flight, seconds = line.split()
            print(json.dumps(await ask(asking, int(in_flight), float(seconds))), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    arguments = parser.parse_args()
    uvloop.run(run(arguments.port, arguments.token_file.read_text().strip()))


if __name__ == "__main__":
    main()
