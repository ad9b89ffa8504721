"""A subscriber in a process of its own, to be stopped and woken: it says how it was cut, and goes on without a gap.

    python -m bench.events.stall_reader --port PORT --token-file FILE

Writes a line of JSON when it is ready, when it was cut (how it was told, and the cursor), and when it has everything up
to the number that a line on standard input names.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import grpc
import uvloop
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import event_service_pb2_grpc

from bench.events.envelope import event_filter
from bench.events.payload import opened

EOF: Any = getattr(grpc.aio, "EOF")  # noqa: B009 - the stubs do not know it
FIXED_WINDOW = (("grpc.http2.bdp_probe", 0),)
"""gRPC's window as it is at the start, 64 KiB: one that has grown with what came before, and the socket's buffer of up
to 32 MiB behind it, would take in all that is published while this process is stopped, and nothing would be cut."""
READ = 60.0
"""Seconds without a frame after which something is wrong."""


def say(**what: object) -> None:
    """One line for whoever started us."""
    print(json.dumps(what), flush=True)


class Reader:
    """Reads durable events, all of one publisher, and knows how far it is."""

    def __init__(self, token: str) -> None:
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._resume = ""
        self._cursor = ""
        self._next: int | None = None
        self.reached = asyncio.Condition()

    async def run(self, channel: grpc.aio.Channel) -> None:
        """Read for ever, over as many streams as it takes."""
        stub: Any = event_service_pb2_grpc.EventServiceStub(channel)
        while True:
            stream = stub.Connect(metadata=self._metadata)
            try:
                await self._stream(stream)
            except grpc.RpcError as error:
                say(ended=str(error.code()))
            stream.cancel()

    async def _stream(self, stream: Any) -> None:
        hello = pb.Hello(client_id="stalled", protocol_max=1, resume_token=self._resume)
        await stream.write(pb.ConnectRequest(hello=hello))
        first = not self._resume
        while True:
            async with asyncio.timeout(READ):
                frame = await stream.read()
            if frame is EOF:
                return
            kind = frame.WhichOneof("frame")
            if kind == "welcome":
                self._resume = frame.welcome.resume_token
                for lost in frame.welcome.lost:
                    say(cut="welcome", reason=pb.EndReason.Name(lost.reason), cursor=lost.cursor)
                await self._subscribe(stream)
            elif kind == "accepted":
                self._cursor = self._cursor or frame.accepted.cursor
                if first:
                    say(ready=True)
                    first = False
            elif kind == "delivery":
                await self._take(frame.delivery)
            elif kind == "ended":
                say(cut="ended", reason=pb.EndReason.Name(frame.ended.reason), cursor=frame.ended.cursor)
                if frame.ended.cursor != self._cursor:
                    say(wrong=f"told to go on from {frame.ended.cursor}, but got everything up to {self._cursor}")
                await self._subscribe(stream)
            elif kind not in ("progress", "pong"):
                say(wrong=f"got {kind}")

    async def _subscribe(self, stream: Any) -> None:
        subscribe = pb.Subscribe(subscription_id="all", filter=event_filter(""), since=self._cursor)
        await stream.write(pb.ConnectRequest(request_id="s", subscribe=subscribe))

    async def _take(self, delivery: pb.Delivery) -> None:
        if not delivery.subscription_ids:
            return  # a heartbeat
        for one in delivery.events:
            number, _, _ = opened(one.custom.content)
            if self._next is not None and number != self._next:
                say(wrong=f"got event {number} in the place of {self._next}")
            self._next = number + 1
        self._cursor = delivery.cursor
        async with self.reached:
            self.reached.notify_all()

    async def until(self, number: int) -> None:
        """Wait until the event of that number has come."""
        async with self.reached:
            await self.reached.wait_for(lambda: (self._next or 0) > number)
        say(reached=number)


async def run(port: int, token: str) -> None:
    """Read, and answer orders."""
    # Events are checked here and large: what a message may be is the server's to say.
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=FIXED_WINDOW) as channel:
        reader = Reader(token)
        reading = asyncio.create_task(reader.run(channel))
        while line := await asyncio.to_thread(sys.stdin.readline):
            await reader.until(int(line))
        reading.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    arguments = parser.parse_args()
    uvloop.run(run(arguments.port, arguments.token_file.read_text().strip()))


if __name__ == "__main__":
    main()
