"""PraisonAI's gateway with an agent that answers at once; runs in the environment that `make bench-peers` makes.

    python praisonai_server.py --port PORT --token TOKEN

Prints the port in JSON once the server listens, and serves until SIGTERM. The gateway is the package's own, unchanged;
only the agent is ours: no model is called and nothing is kept. The loop is uvloop, as it is on the other side.
"""

import argparse
import asyncio
import json
import logging
import sys


class EchoAgent:
    """Answers a message with itself; `chat` is what the gateway calls, in a thread of its own."""

    agent_id = "echo"
    name = "echo"

    def chat(self, prompt: str) -> str:
        """The answer."""
        return f"You said: {prompt}"

    async def achat(self, prompt: str) -> str:
        """The same without a thread, for versions of the gateway that ask so."""
        return self.chat(prompt)


async def serve(port: int, token: str) -> None:
    """Start the gateway and say when it listens."""
    from praisonai.gateway.server import WebSocketGateway  # noqa: PLC0415  # takes long; in the peer's environment only
    from praisonaiagents.gateway import GatewayConfig  # noqa: PLC0415

    gateway = WebSocketGateway(config=GatewayConfig(host="127.0.0.1", port=port, auth_token=token))
    gateway.register_agent(EchoAgent(), "echo")
    running = asyncio.create_task(gateway.start())
    while not running.done() and not getattr(getattr(gateway, "_server", None), "started", False):
        await asyncio.sleep(0.01)
    if not running.done():
        print(json.dumps({"port": port}), flush=True)
    await running


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--plain-loop", action="store_true", help="asyncio's own loop in place of uvloop")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    factory = None
    if not arguments.plain_loop:
        import uvloop  # noqa: PLC0415

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(arguments.port, arguments.token))


if __name__ == "__main__":
    sys.exit(main())
