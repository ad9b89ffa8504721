"""Messages between agents through the daemon, by the SDK: an agent of one worker asks an agent of another.

    python -m bench.events.agent_requests --port PORT --token-file FILE

What is asked is part of an execution, which an entry point starts; nothing is written before it is handed on. As many
executions are started as are needed, since each may send so many messages only. Orders are those of `asking`.
"""

import asyncio

from bench.events.asking import main, take_orders
from bench.events.worker_requests import MAX_AT_ONCE, answer
from gatewayctl.client import Call, Client

MESSAGES = 9_900
"""Messages that are sent within one execution; the gateway's bound is 10,000."""


class Voice:
    """One call of the agent that asks, from within which so many messages may be sent."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.left = MESSAGES
        self.under_way = 0
        self.over = asyncio.Event()

    async def ask(self, text: str) -> str:
        """A question to the other agent, and its answer."""
        self.left -= 1
        self.under_way += 1
        try:
            return await self.call.send("echo", text)
        finally:
            self.under_way -= 1
            if not self.left and not self.under_way:
                self.over.set()


class Talker:
    """The agent that asks. A call stays open until nothing more may be asked from within it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._voices: asyncio.Queue[Voice] = asyncio.Queue()
        self._voice: Voice | None = None
        self._changing = asyncio.Lock()

    async def answer(self, call: Call) -> str:
        """Be at work for as long as it is needed."""
        voice = Voice(call)
        self._voices.put_nowait(voice)
        await voice.over.wait()
        return "done"

    async def ask(self, text: str) -> str:
        """A question, from within whatever execution may still send one."""
        while self._voice is None or not self._voice.left:
            async with self._changing:
                if self._voice is None or not self._voice.left:
                    await self._client.trigger("talk", "go on")
                    self._voice = await self._voices.get()
        return await self._voice.ask(text)

    def end(self) -> None:
        """Nothing more is asked."""
        if self._voice is not None:
            self._voice.over.set()


async def run(address: str, token: str) -> None:
    """Join the daemon and do as told."""
    async with (
        Client(address, token=token, client_id="talker") as asking,
        Client(address, token=token, client_id="worker") as working,
        working.serve_agent("echo", answer, max_concurrent=MAX_AT_ONCE),
    ):
        talker = Talker(asking)
        async with asking.serve_agent("talker", talker.answer, max_concurrent=4):
            await take_orders(talker.ask)
            talker.end()


if __name__ == "__main__":
    main(__doc__, run)
