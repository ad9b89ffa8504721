"""Those who are refused finish what they say, a bounded time and so many at once."""

import asyncio

from gatewayd.conversation.hearing import AT_ONCE, HEAR_OUT, Hearing
from gatewayd.testing.fakes import FakeClock


class Speaker:
    """A link of somebody who says something when the test wants it."""

    end = None
    gone = ConnectionError

    def __init__(self) -> None:
        self.says: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.listened_to = False

    async def read(self) -> bytes:
        self.listened_to = True
        return await self.says

    async def write(self, data: bytes) -> None:
        raise AssertionError(data)


async def test_the_first_frame_is_heard_and_no_more() -> None:
    speaker = Speaker()
    heard = asyncio.create_task(Hearing(FakeClock()).out(speaker))
    await asyncio.sleep(0)
    assert not heard.done()

    speaker.says.set_result(b"hello")

    async with asyncio.timeout(60):
        await heard


async def test_one_who_says_nothing_is_not_waited_for_long() -> None:
    clock = FakeClock()
    heard = asyncio.create_task(Hearing(clock).out(Speaker()))
    await asyncio.sleep(0)

    await clock.advance(HEAR_OUT)

    async with asyncio.timeout(60):
        await heard


async def test_one_who_has_gone_is_no_trouble() -> None:
    speaker = Speaker()
    speaker.says.set_exception(ConnectionResetError())
    await Hearing(FakeClock()).out(speaker)


async def test_of_a_flood_only_so_many_are_heard_out() -> None:
    """The others are refused as they come; when one has spoken there is room again."""
    hearing = Hearing(FakeClock())
    speakers = [Speaker() for _ in range(AT_ONCE)]
    tasks = [asyncio.create_task(hearing.out(one)) for one in speakers]
    await asyncio.sleep(0)
    late = Speaker()
    await hearing.out(late)
    assert not late.listened_to

    speakers[0].says.set_result(b"hello")
    async with asyncio.timeout(60):
        await tasks[0]
    late.says.set_result(b"hello")
    await hearing.out(late)
    assert late.listened_to

    for one in speakers[1:]:
        one.says.set_result(b"hello")
    async with asyncio.timeout(60):
        await asyncio.gather(*tasks)
