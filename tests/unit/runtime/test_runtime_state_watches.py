"""Watches of the shared state: what is there, every change once and in order, and how they end."""

import asyncio

import pytest
from state_rig import BUFFER_BYTES, DEADLINE, Rig, changes, until_synced

from gatewayd.access.principals import LostProof
from gatewayd.core.errors import Draining, SlowConsumer, Unauthenticated
from gatewayd.core.state import EVERYWHERE, Place, StateScope

GLOBAL, STREAM = StateScope.GLOBAL, StateScope.STREAM


async def test_a_watch_tells_what_is_there_and_then_every_change_once_and_in_order(rig: Rig) -> None:
    for number in range(120):
        await rig.put(f"k.{number:03}", "0")
    await rig.put("other", "0")
    await rig.put("secret", "0")
    news = rig.watch("k.*")
    first = await anext(news)
    # Written while what is there is still being read: in the part that follows, or as a change, never both or neither.
    await rig.put("k.119", "1")
    await rig.put("k.000", "1")
    found = {entry.key: entry.text for entry in first.entries} | await until_synced(news)
    assert len(found) == 120
    expected = [("k.000", "1")] if found["k.119"] == "1" else [("k.119", "1"), ("k.000", "1")]
    await asyncio.gather(*(rig.put(f"k.{n % 7:03}", str(n)) for n in range(200)), rig.put("secret", "2"))
    await rig.put("k.001", "")
    expected += [(f"k.{n % 7:03}", str(n)) for n in range(200)] + [("k.001", "")]
    assert await changes(news, len(expected)) == expected


async def test_a_watch_of_an_execution_hears_of_it_alone(rig: Rig) -> None:
    one, two = await rig.view(1), await rig.view(2)
    news = rig.watch(place=Place(StateScope.EXECUTION, "x0001"))
    streams = rig.watch(place=Place(STREAM, "helper"))
    assert await until_synced(news) == await until_synced(streams) == {}
    await two.set("k", 2)
    await one.set("k", 3, scope=STREAM)
    await one.set("k", 1)
    assert await changes(news, 1) == [("k", "1")]
    assert await changes(streams, 1) == [("k", "3")]


async def test_a_watch_that_does_not_keep_up_is_cut_and_holds_no_more_than_its_bound(rig: Rig) -> None:
    news = rig.watch()
    await until_synced(news)
    text = '"' + "x" * 60_000 + '"'
    for number in range(BUFFER_BYTES // 60_000 + 5):
        await rig.put(f"k{number}", text)
    rig.bus.flush()
    with pytest.raises(SlowConsumer):
        await changes(news, 1000)


async def test_watches_end_with_the_token_and_with_the_gateway(rig: Rig) -> None:
    for end, error in (
        (lambda: rig.watches.end_lost(LostProof(frozenset({"digest"}))), Unauthenticated),
        (rig.watches.drain, Draining),
    ):
        watch = rig.watches.open(EVERYWHERE, None, lambda _key: True, "digest")
        news = watch.news()
        await until_synced(news)
        waiting = asyncio.ensure_future(anext(news))
        await asyncio.sleep(0)
        end()
        with pytest.raises(error):
            async with asyncio.timeout(DEADLINE):
                await waiting
        watch.close()
    assert rig.watches.count == 0
    with pytest.raises(Draining):
        rig.watch()
