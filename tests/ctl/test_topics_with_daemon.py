"""Push topics through the SDK and gatewayctl against the real daemon, killed and restarted under them."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatewayctl.client import NotFound, Presence, TopicEnded
from tests.ctl.command import Process, run
from tests.rigs.process import Daemon

pytestmark = pytest.mark.usefixtures("quiet_environment")

CONFIG = """\
agents:
  assistant: {model: offline/echo}
push: {enabled: true}
"""


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path, CONFIG) as daemon:
        yield daemon


async def test_nothing_to_be_acknowledged_is_lost_over_kills_and_nothing_handled_comes_again(daemon: Daemon) -> None:
    """Pushed by one client, handled by another, with the daemon killed in between."""
    handled: Counter[int] = Counter()
    pushed: list[int] = []
    finished = asyncio.Event()

    async def push() -> None:
        async with daemon.client("shop", timeout=60.0) as shop:
            while not finished.is_set():
                number = len(pushed)
                assert await shop.topics.push("orders", {"n": number}, acknowledged=True) == 1
                pushed.append(number)

    async with daemon.client("till") as till:
        async with till.topics.join("orders", acknowledged=True, create_if_missing=True) as messages:

            async def handle() -> None:
                async for message in messages:
                    handled[message.data["n"]] += 1
                    await message.ack()

            handling, pushing = asyncio.create_task(handle()), asyncio.create_task(push())
            for life in (1, 2):
                before = len(pushed)
                async with asyncio.timeout(60):
                    while len(pushed) < before + 100 or messages.connects < life:
                        await asyncio.sleep(0.01)
                        assert not pushing.done(), pushing.exception()
                        assert not handling.done(), handling.exception()
                await daemon.kill()
                await daemon.stop()
                await daemon.start()
            finished.set()
            await pushing
            async with asyncio.timeout(60):
                while messages.connects < 3 or not set(pushed) <= set(handled):
                    await asyncio.sleep(0.05)
            await till.topics.flush()
            (topic,) = await till.topics.find("orders")
            handling.cancel()

    assert set(handled.values()) == {1}
    assert topic.pending_count == 0


async def test_what_was_not_handled_waits_for_the_client_to_come_back(daemon: Daemon) -> None:
    async with daemon.client("shop") as shop:
        async with (
            daemon.client("till") as till,
            till.topics.join("orders", acknowledged=True, create_if_missing=True) as messages,
        ):
            for number in range(3):
                await shop.topics.push("orders", {"n": number}, acknowledged=True)
            async with asyncio.timeout(60):
                await (await anext(messages)).ack()
                refused = await anext(messages)
                await refused.nack()
                while not (again := await anext(messages)).redelivered:
                    pass
        assert again.message_id == refused.message_id
        assert await shop.topics.push("orders", {"n": 3}, acknowledged=True) == 1
        async with daemon.client("till") as till, till.topics.join("orders", acknowledged=True) as messages:
            assert messages.pending == 3
            async with asyncio.timeout(60):
                got = [await anext(messages) for _ in range(3)]
            assert [message.data["n"] for message in got] == [1, 2, 3]
            assert got[0].redelivered == 2
            assert await messages.leave()
        dead = json.loads((await run(daemon, "-o", "json", "topics", "dead-letters")).out)

    assert sorted((each["reason"], each["message"]["data"]["n"]) for each in dead) == [
        ("membership_ended", 1),
        ("membership_ended", 2),
        ("membership_ended", 3),
    ]


async def test_a_slow_reader_gets_everything_in_its_time(daemon: Daemon) -> None:
    """More waits for it than its buffer holds."""
    async with daemon.client("shop") as shop, daemon.client("till") as till:
        async with till.topics.join("orders", acknowledged=True, create_if_missing=True, buffer_bytes=4000) as messages:
            await asyncio.gather(
                *(shop.topics.push("orders", {"n": n, "text": "." * 1000}, acknowledged=True) for n in range(300))
            )
            got: set[int] = set()
            async with asyncio.timeout(60):
                async for message in messages:
                    await asyncio.sleep(0.001)
                    await message.ack()
                    got.add(message.data["n"])
                    if len(got) == 300:
                        break

    assert got == set(range(300))


async def test_who_is_there_is_told(daemon: Daemon) -> None:
    told: list[Presence] = []
    async with daemon.client("till") as till, daemon.client("shop") as shop:
        async with till.topics.join("orders", create_if_missing=True, on_presence=told.append) as messages:
            async with shop.topics.join("orders", status="busy", metadata={"desk": 4}):
                members = await till.topics.presence("orders")
            await shop.topics.push("orders", {})
            async with asyncio.timeout(60):
                await anext(messages)
                while len(told) < 2:
                    await shop.topics.push("orders", {})
                    await anext(messages)

    assert sorted((each.client_id, each.status) for each in members) == [("shop", "busy"), ("till", "online")]
    assert [(each.client_id, each.kind) for each in told] == [("shop", "join"), ("shop", "leave")]
    assert told[0].metadata == {"desk": 4}


async def test_the_commands_do_what_they_say(daemon: Daemon) -> None:
    created = await run(daemon, "topics", "create", "orders.eu", "--metadata", '{"about": "x"}')
    follower = await Process.start("--address", daemon.address, "topics", "follow", "orders.eu")
    async with daemon.client() as client:
        async with asyncio.timeout(60):
            while not await client.topics.presence("orders.eu"):
                await asyncio.sleep(0.02)
    pushed = await run(daemon, "topics", "push", "orders.eu", '{"n": 1}', "--acknowledged")
    line = await follower.line()
    shown = await run(daemon, "topics", "show", "orders.eu", "--away")
    listed = await run(daemon, "topics", "--pattern", "orders.>")
    deleted = await run(daemon, "topics", "delete", "orders.eu")
    ended = await follower.end()
    missing = await run(daemon, "topics", "show", "orders.eu")

    assert created.code == pushed.code == shown.code == listed.code == deleted.code == 0
    assert "recipients  1" in pushed.out
    assert line.endswith('{"n": 1}')
    assert "present  online" in shown.out
    assert listed.out.splitlines()[1].split()[:5] == ["orders.eu", "local", "1", "1", "0"]
    assert (ended.code, ended.err) == (4, "gatewayctl: the topic 'orders.eu' was deleted\n")
    assert missing.code == 4


async def test_a_topic_that_is_deleted_ends_its_members(daemon: Daemon) -> None:
    async with daemon.client("shop") as shop, daemon.client("till") as till:
        with pytest.raises(NotFound):
            await till.topics.join("orders").started()
        await shop.topics.create("orders", {"about": "x"})
        async with till.topics.join("orders") as messages:
            await shop.topics.delete("orders")
            with pytest.raises(TopicEnded):
                async with asyncio.timeout(60):
                    await anext(messages)
