"""So many requests are under way at a time, and the next one is begun when one of them has ended."""

import asyncio

from gatewayd.conversation.slots import Slots


async def test_one_waits_until_a_place_is_given_back() -> None:
    slots = Slots(2)
    slots.take()
    assert not slots.are_taken
    slots.take()
    assert slots.are_taken

    waiting = asyncio.create_task(slots.freed())
    await asyncio.sleep(0)
    assert not waiting.done()

    slots.give_back()
    async with asyncio.timeout(60):
        await waiting
    assert not slots.are_taken


async def test_who_gave_up_waiting_does_not_keep_the_next_from_it() -> None:
    slots = Slots(1)
    slots.take()
    first = asyncio.create_task(slots.freed())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait((first,))

    second = asyncio.create_task(slots.freed())
    await asyncio.sleep(0)
    assert not second.done()
    slots.give_back()
    async with asyncio.timeout(60):
        await second


async def test_where_there_is_room_nobody_waits() -> None:
    slots = Slots(1)
    slots.take()
    slots.give_back()
    async with asyncio.timeout(60):
        await slots.freed()
