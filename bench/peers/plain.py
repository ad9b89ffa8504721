"""A peer: what a plain grpc.aio server costs that passes events on, one in a frame, each read and written again.

    python bench/peers/plain.py --port PORT

Every stream of `/bench.Plain/Connect` gets what the streams with `role: publisher` in their metadata send. The loop is
uvloop; nothing is authenticated, bounded or kept. What waits for a subscriber is gathered per stream in a queue.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop
from gateway.v1 import event_pb2


class Plain:
    """One queue for each subscriber."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[event_pb2.Event]] = set()

    async def connect(self, requests: AsyncIterator[event_pb2.Event], context: Any) -> None:
        """A stream."""
        if ("role", "publisher") in context.invocation_metadata():
            async for event in requests:
                event.time = time.time()
                event.source = "plain"
                for waiting in self._queues:
                    waiting.put_nowait(event)
            return
        queue: asyncio.Queue[event_pb2.Event] = asyncio.Queue()
        self._queues.add(queue)
        try:
            await context.send_initial_metadata(())
            while True:
                await context.write(await queue.get())
        finally:
            self._queues.discard(queue)


async def serve(port: int) -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(
        Plain().connect, event_pb2.Event.FromString, event_pb2.Event.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Plain", {"Connect": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
