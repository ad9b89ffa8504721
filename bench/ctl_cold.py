"""How much a cold `gatewayctl status --daemon-only` costs beyond importing grpc.

Both are whole processes of the same interpreter, run in alternation against one server, so that what else the machine
does hits both alike. The server is a bare grpc.aio server in a process of its own that answers GetStatus with fixed
bytes: what is measured is the command, not the daemon. `--address ADDRESS` measures against a running daemon instead.

    python bench/ctl_cold.py [--pairs 15] [--address unix:PATH]
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOST = 1.6
AIM = 1.2


def serve(address: str) -> None:
    """Answer GetStatus until killed."""
    import grpc  # noqa: PLC0415 - the measuring process has none of it
    from gateway.v1 import status_pb2  # noqa: PLC0415

    answer = status_pb2.GetStatusResponse(
        pid=os.getpid(),
        version="0.1.0",
        state=status_pb2.DAEMON_STATE_SERVING,
        start_time=time.time(),
        uptime=1.0,
        config_digest="0" * 64,
        last_reload=status_pb2.ReloadOutcome(time=time.time(), ok=True),
    ).SerializeToString()

    async def status(_request: bytes, _context: object) -> bytes:
        return answer

    async def run() -> None:
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(status)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("gateway.v1.AdminService", {"GetStatus": handler}),)
        )
        server.add_insecure_port(address)
        await server.start()
        await server.wait_for_termination()

    asyncio.run(run())


def seconds(command: list[str]) -> float:
    """One whole process, from start to end. It must succeed."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="at least 9")
    parser.add_argument("--address", help="measure against this daemon")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return 0
    with tempfile.TemporaryDirectory() as place:
        address = args.address or f"unix:{place}/bench.sock"
        server = None if args.address else subprocess.Popen([sys.executable, __file__, "--serve", address])
        try:
            return measure(address, max(9, args.pairs))
        finally:
            if server is not None:
                server.kill()
                server.wait()


def measure(address: str, pairs: int) -> int:
    """Warm the caches of the disk, then run the pairs."""
    ctl = str(Path(sys.executable).with_name("gatewayctl"))
    command = [ctl, "status", "--daemon-only", "--address", address]
    reference = [sys.executable, "-c", "import grpc"]
    for _ in range(40):
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            break
        time.sleep(0.1)
    else:
        print(f"nobody answers GetStatus at {address}", file=sys.stderr)
        return 1
    seconds(reference)
    figures, references = [], []
    for _ in range(pairs):
        references.append(seconds(reference))
        figures.append(seconds(command))
    ratio = statistics.median(figure / base for figure, base in zip(figures, references, strict=True))
    print(f"gatewayctl status --daemon-only  {statistics.median(figures) * 1000:7.1f} ms  median of {pairs}")
    print(f"python -c 'import grpc'          {statistics.median(references) * 1000:7.1f} ms")
    print(f"ratio                            {ratio:7.2f}     at most {MOST}, aim {AIM}")
    return 0 if ratio <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
