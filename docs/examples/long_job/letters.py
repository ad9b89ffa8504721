"""The agent: one letter after another, and a checkpoint behind each."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from gatewayd.agents.base import AgentContext, AgentFailed, Output, TextOutput, Turn


class Clerk:
    """Sends letters."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        self.post_office = str(options["post_office"])
        self.pause = float(options.get("pause", 0))

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        month, customers = read(turn.text)
        done = int(ctx.resumed["done"]) if ctx.resumed else 0
        for number in range(done, len(customers)):
            if number > done:
                await ctx.clock.sleep(self.pause)
            # The same for this letter of this execution, in whatever life of the daemon it is sent.
            key = f"{ctx.execution_id}/{number + 1}"
            await self.send(key, f"Dear {customers[number]}, here is your invoice for {month}.")
            yield TextOutput(f"Letter {number + 1} to {customers[number]}.\n")
            # From here on it is done. The text is kept with it: whoever reads along gets each line once.
            await ctx.checkpoint({"done": number + 1}, node_id=f"letter-{number + 1}")
        yield TextOutput(f"All {len(customers)} letters are on their way.")

    async def send(self, key: str, letter: str) -> None:
        """Hand it in at the post office, and wait for the receipt."""
        try:
            reader, writer = await asyncio.open_unix_connection(self.post_office)
            try:
                writer.write(json.dumps({"key": key, "letter": letter}).encode() + b"\n")
                await writer.drain()
                receipt = await reader.readline()
            finally:
                writer.close()
        except OSError as error:
            raise AgentFailed("The post office is closed.", cause=str(error)) from error
        if not receipt:
            raise AgentFailed("The post office gave no receipt.")


def read(text: str) -> tuple[str, Sequence[str]]:
    """The month, and who gets a letter."""
    try:
        given = json.loads(text)
        return str(given["month"]), [str(name) for name in given["customers"]]
    except (ValueError, KeyError, TypeError) as error:
        raise AgentFailed("Give a month and a list of customers.", cause=repr(error)) from error
