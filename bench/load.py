"""The load that both gateways get: so many chats at a time, each waiting for its answer before it goes on."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from bench.processes import WrongAnswer

ANSWER = 20.0
"""Seconds that one answer may take."""
CHAT_LENGTH = 50
"""Messages of one chat; then another one begins."""

Ask = Callable[[str], Awaitable[str]]
"""Say something in one chat and return what was answered."""
OpenChat = Callable[[str], AbstractAsyncContextManager[Ask]]
"""A chat of that name."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one gateway did under one load."""

    messages: int
    seconds: float
    cpu: float
    """Seconds of the gateway's processor time."""
    waits: tuple[float, ...]
    """Seconds from each message to its answer."""

    @property
    def rate(self) -> float:
        """Messages answered in a second."""
        return self.messages / self.seconds


async def load(
    open_chat: OpenChat, name: str, *, chats: int, messages: int, prefix: str, cpu: Callable[[], float]
) -> Round:
    """`messages` in each of `chats`; every answer must be `prefix` and the message's own words."""
    waits: list[float] = []
    ready = asyncio.Barrier(chats + 1)

    async def talk(number: int) -> None:
        done = 0
        while done < messages:
            async with open_chat(f"{name}-{number}-{done}") as ask:
                if not done:
                    await ready.wait()
                for turn in range(done, min(messages, done + CHAT_LENGTH)):
                    said = f"hello {name}-{number}-{turn}"
                    began = time.perf_counter()
                    async with asyncio.timeout(ANSWER):
                        answer = await ask(said)
                    waits.append(time.perf_counter() - began)
                    if answer != prefix + said:
                        raise WrongAnswer(f"said {said!r}, answered {answer!r}")
                done += CHAT_LENGTH

    async with asyncio.TaskGroup() as group:
        for number in range(chats):
            group.create_task(talk(number))
        await ready.wait()
        began, used = time.perf_counter(), cpu()
    return Round(len(waits), time.perf_counter() - began, cpu() - used, tuple(waits))


def percentile(waits: Sequence[float], part: float) -> float:
    """In seconds."""
    return sorted(waits)[min(len(waits) - 1, int(len(waits) * part))]


def summary(rounds: Sequence[Round]) -> str:
    """The median rate, and the waits of all rounds together."""
    waits = [wait for each in rounds for wait in each.waits]
    rate = statistics.median(each.rate for each in rounds)
    cost = statistics.median(each.cpu / each.messages for each in rounds)
    return (
        f"{rate:,.0f}/s, p50 {percentile(waits, 0.5) * 1000:.2f} ms, p99 {percentile(waits, 0.99) * 1000:.2f} ms, "
        f"{cost * 1e6:.0f} µs of CPU each"
    )
