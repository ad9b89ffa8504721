"""What the daemon is measured against: the least that a grpc.aio server on uvloop can be.

    python bench/peers/bare.py --socket PATH

Health over a unix socket and nothing else. It says that it is ready as the daemon does, with a datagram to
`NOTIFY_SOCKET`, and ends at SIGTERM.
"""

import argparse
import asyncio
import os
import signal
import socket

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


async def serve(path: str) -> None:
    """Serve until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # grpc-stubs leave it out
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect(os.environ["NOTIFY_SOCKET"])
        manager.send(b"READY=1")
    await ended.wait()
    await server.stop(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", required=True)
    uvloop.run(serve(parser.parse_args().socket))


if __name__ == "__main__":
    main()
