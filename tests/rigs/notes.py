"""Numbered events, and how they arrive."""

import asyncio
from collections.abc import AsyncIterator

from gatewayctl.client import Event, new_event


def note(number: int, topic: str, *, ephemeral: bool = False, **more: str) -> Event:
    return new_event("custom", {"n": number}, custom_type="note", topic=topic, ephemeral=ephemeral, **more)


def number_of(event: Event) -> int:
    return int(event.custom.json["n"])


async def take(events: AsyncIterator[Event], count: int) -> list[Event]:
    async with asyncio.timeout(60):
        return [await anext(events) for _ in range(count)]
