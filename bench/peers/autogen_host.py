"""AutoGen's gRPC host, unchanged; runs in the environment that `make bench-peers` makes.

    python autogen_host.py --port PORT

Serves until killed. The loop is uvloop, as it is on the other side; the host's log, which writes every message, is off.
"""

import argparse
import asyncio
import logging

import uvloop
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntimeHost


async def serve(port: int) -> None:
    """Start the host."""
    host = GrpcWorkerAgentRuntimeHost(address=f"127.0.0.1:{port}")
    host.start()
    await asyncio.Event().wait()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    uvloop.run(serve(arguments.port))


if __name__ == "__main__":
    main()
