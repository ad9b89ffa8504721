"""What the tests of push topics share: messages of a membership, and waiting for what the fake has seen."""

import asyncio
from collections.abc import Callable
from typing import Any

from gatewayctl.client import Membership, TopicMessage


async def take(membership: Membership, count: int = 1) -> list[TopicMessage]:
    async with asyncio.timeout(60):
        return [await anext(membership) for _ in range(count)]


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)


def numbers(messages: list[TopicMessage]) -> list[Any]:
    return [message.data["n"] for message in messages]
