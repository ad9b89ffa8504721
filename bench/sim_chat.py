"""A daemon that listens to a simulated chat network, and the users of that network.

The network lives in this process, behind a unix socket; the daemon polls it, acknowledges and sends as it would with
a real one. Every message is journaled before it is acknowledged and every answer marked before and after it is sent.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from bench.load import Ask
from bench.processes import Running, WrongAnswer, daemon
from gatewayd.channels.sim_network import SimPlatform
from gatewayd.channels.sim_values import Sending
from gatewayd.core.clock import SystemClock, SystemRandomness
from gatewayd.testing.sim_platform import serving

CONFIG = """
agents:
  echo:
    model: offline/echo
channels:
  sim:
    server: "unix:{socket}"
    routing: {{default: echo}}
"""


class Network(SimPlatform):
    """The network, whose users hear an answer the moment it is sent."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(SystemClock(), SystemRandomness(), **settings)
        self.said = 0
        self.heard_count = 0
        self._waiting: dict[str, asyncio.Future[str]] = {}

    async def send(self, token: str, sending: Sending) -> str:
        """As the network does; nobody waits for a second answer, and that is an error of the daemon."""
        message_id = await super().send(token, sending)
        self.heard_count += 1
        waiting = self._waiting.pop(sending.chat, None)
        if waiting is None:
            raise WrongAnswer(f"{sending.chat} heard {sending.text!r}, but had asked nothing")
        if not waiting.done():
            waiting.set_result(sending.text)
        return message_id

    @asynccontextmanager
    async def chat(self, name: str) -> AsyncIterator[Ask]:
        """One user in a room of her own."""

        async def ask(text: str) -> str:
            answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._waiting[name] = answer
            self.say(name, name, text)
            self.said += 1
            return await answer

        yield ask


@asynccontextmanager
async def serve(home: Path) -> AsyncIterator[tuple[Network, Running]]:
    """The network and a daemon that has connected to it; at the end the daemon's books are checked."""
    network = Network(max_sent=1000)
    config = home / "gateway.yaml"
    await asyncio.to_thread(config.write_text, CONFIG.format(socket=home / "sim.sock"))
    await asyncio.to_thread(config.chmod, 0o600)
    async with serving(network, home / "sim.sock"):
        running_daemon = daemon(home, config)
        running = await asyncio.to_thread(running_daemon.__enter__)
        try:
            yield network, running
        finally:
            # On another thread, because the daemon still sends to this loop while it drains.
            await asyncio.to_thread(running_daemon.__exit__, None, None, None)
    await asyncio.to_thread(_check_books, home / "state" / "gatewayd.db", network)


def _check_books(database: Path, network: Network) -> None:
    """What users saw and what the daemon wrote down are the same."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        told: Counter[str] = Counter(dict(connection.execute("SELECT state, COUNT(*) FROM ledger GROUP BY state")))
        letters = connection.execute("SELECT COUNT(*) FROM dead_letters").fetchone()[0]
    expected = {"answered": network.said}
    if dict(told) != expected or letters or network.heard_count != network.said:
        raise WrongAnswer(
            f"{network.said} said, {network.heard_count} heard; written down: {dict(told)}, {letters} dead letters"
        )
