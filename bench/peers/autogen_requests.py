"""Requests through AutoGen's host with AutoGen's own clients; runs in the environment that `make bench-peers` makes.

    python autogen_requests.py --port PORT

Two worker runtimes: one has an agent that answers with what it was asked, the other asks it. For each line
`IN_FLIGHT SECONDS` on standard input it asks for so long and writes one line of JSON.
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from dataclasses import dataclass

import uvloop
from autogen_core import AgentId, MessageContext, RoutedAgent, rpc, try_get_known_serializers_for_type
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime

BODY = 120
"""Characters in a question, as many as in those of the other side."""
ANSWER = 20.0


@dataclass
class Question:
    """What is asked, and what is answered."""

    text: str


class Echo(RoutedAgent):
    """Answers with the question."""

    def __init__(self) -> None:
        super().__init__("echo")

    @rpc
    async def on_question(self, message: Question, ctx: MessageContext) -> Question:  # noqa: ARG002
        """The answer."""
        return message


async def ask(asker: GrpcWorkerAgentRuntime, in_flight: int, seconds: float) -> dict[str, object]:
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
                answer = await asker.send_message(Question(said), AgentId("echo", "default"))
            waits.append(time.perf_counter() - began)
            if answer.text != said:
                raise SystemExit(f"asked {said!r}, answered {answer!r}")

    began = time.perf_counter()
    await asyncio.gather(*(loop(number) for number in range(in_flight)))
    return {"seconds": time.perf_counter() - began, "waits": waits}


async def run(port: int) -> None:
    """Join the host and do as told."""
    answerer, asker = (GrpcWorkerAgentRuntime(host_address=f"127.0.0.1:{port}") for _ in range(2))
    for runtime in (answerer, asker):
        runtime.add_message_serializer(try_get_known_serializers_for_type(Question))
        await runtime.start()
    await Echo.register(answerer, "echo", Echo)
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        in_flight, seconds = line.split()
        print(json.dumps(await ask(asker, int(in_flight), float(seconds))), flush=True)
    await asker.stop()
    await answerer.stop()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    uvloop.run(run(arguments.port))


if __name__ == "__main__":
    main()
