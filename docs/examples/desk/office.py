"""The desk, opened: the daemon, the chat that it answers in, the shop that sends, and the story of it all.

async with Office(place, print) as office:
    await office.ticket(1, "Ann", "42", "Where is my parcel?")
    print(await office.story.answer(1))
"""

import asyncio
import contextlib
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
from running import DEADLINE, Failed, Running

from desk.refunds import entries
from desk.shop import Shop, new_secret
from desk.story import Story
from gatewayd.channels.sim_network import SimPlatform
from gatewayd.core.clock import SystemClock, SystemRandomness
from gatewayd.testing.sim_platform import serving

CONFIG = Path(__file__).with_name("gateway.yaml")
ROOM = "help-desk"


class Office:
    """One desk in a directory of its own. `async with`."""

    def __init__(self, place: Path, show: Callable[[str], None]) -> None:
        """`show` is given each line of the story."""
        self.story = Story(show)
        self.chat = SimPlatform(SystemClock(), SystemRandomness())
        self.books = place / "refunds.jsonl"
        self._secret = new_secret()
        self._network = place / "chat.sock"
        environ = {
            "DESK_SECRET": self._secret,
            "DESK_HTTP_PORT": "0",
            "DESK_BOOKS": str(self.books),
            "DESK_CHAT": f"unix:{self._network}",
        }
        self.daemon = Running(place, CONFIG, environ)
        self._rooms = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "Office":
        try:
            await self._rooms.enter_async_context(serving(self.chat, self._network))
            await self._rooms.enter_async_context(self.daemon)
            client = await self._rooms.enter_async_context(self.daemon.client("reader"))
            started = asyncio.Event()
            reading = asyncio.create_task(self.story.follow(client, started))
            self._rooms.push_async_callback(_end, reading)
            async with asyncio.timeout(DEADLINE):
                await asyncio.wait((reading, asyncio.create_task(started.wait())), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            self.story.began = time.time()
        except BaseException:
            await self._rooms.aclose()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._rooms.__aexit__(*error)  # type: ignore[arg-type]

    def shop(self, secret: str = "") -> Shop:
        """Who sends the tickets; with another secret: who would like to."""
        return Shop(self.daemon.http_port, secret or self._secret)

    async def ticket(self, number: int, customer: str, order: str, text: str, *, secret: str = "") -> int:
        """Send a ticket; the status of HTTP that was answered."""
        ticket = {"ticket": number, "customer": customer, "order": order, "text": text}
        try:
            return await self.shop(secret).send(ticket)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Failed(f"the webhook of ticket {number} was not answered: {error!r}") from error

    async def decide(self, number: int, text: str) -> None:
        """A person answers what the desk asks about a ticket: with gatewayctl, as you would."""
        question = await self.story.question(number)
        command = ["executions", "input", question.execution_id, text, "--node", question.node_id]
        self.story.say("you", f"$ gatewayctl {shlex.join(command)}", number)
        await self.daemon.ctl(*command)

    async def heard(self, count: int) -> list[str]:
        """What was said in the room, once that many messages were."""
        try:
            return [each.text for each in await self.chat.wait_heard(count, ROOM, timeout=DEADLINE)]
        except TimeoutError:
            raise Failed(f"{len(self.chat.heard(ROOM))} of {count} answers were heard in {DEADLINE:g} s") from None

    def paid(self) -> list[dict[str, str]]:
        """What is in the books of the bank."""
        return entries(self.books)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
