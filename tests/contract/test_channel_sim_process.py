"""The simulated network as a process of its own: it outlives who talks to it, and bounds what it is told."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatewayd.channels.sim_link import MAX_LINE, SocketLink, encode
from gatewayd.channels.sim_values import Sending, SimCut, SimRefused, SimUnreachable
from gatewayd.core.clock import SystemClock
from gatewayd.testing.sim_platform import SimUsers

LIMIT = 20.0


async def spawn(path: Path, *flags: str) -> Process:
    command = (sys.executable, "-m", "gatewayd.testing.sim_platform", "--socket", str(path), *flags)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT):
        assert await process.stdout.readline() == f"listening {path}\n".encode()
    return process


async def end(process: Process) -> int:
    process.terminate()
    async with asyncio.timeout(LIMIT):
        return await process.wait()


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    path = tmp_path / "sim.sock"
    process = await spawn(path, "--fault", "rate_limit=1:2.5")
    yield path
    assert await end(process) == 0
    assert not path.exists()


async def test_it_keeps_what_was_said_and_heard_while_bots_come_and_go(path: Path) -> None:
    users = SimUsers(str(path))
    said = await users.say("room", "alice", "hello", token="t")
    first = SocketLink(str(path), "t", SystemClock())
    assert [update.id for update in await first.poll(0)] == [said]
    with pytest.raises(SimRefused, match="too many") as caught:
        await first.send(Sending("k/0", "room", "hi"))
    assert caught.value.retry_after == 2.5
    await first.send(Sending("k/0", "room", "hi"))
    await first.close()

    second = SocketLink(str(path), "t", SystemClock())
    assert [update.id for update in await second.poll(1)] == [said]
    await second.ack([said])

    await users.wait_acknowledged("t")
    assert [(sent.key, sent.text) for sent in await users.wait_heard(1, "room")] == [("k/0", "hi")]
    with pytest.raises(TimeoutError, match="1 of 2 messages"):
        await users.wait_heard(2, "room", timeout=0.05)
    await second.close()
    await users.close()


async def test_a_second_poller_waits_for_the_first_one_s_connection_to_end(path: Path) -> None:
    first, second = (SocketLink(str(path), "t", SystemClock()) for _ in range(2))
    await first.poll(0)
    with pytest.raises(SimRefused, match="another connection"):
        await second.poll(0)

    await first.close()

    async with asyncio.timeout(LIMIT):
        while True:  # the end of a connection takes a moment to be noticed by a process
            try:
                await second.poll(0)
                break
            except SimRefused:
                await asyncio.sleep(0.01)
    await second.close()


async def test_a_line_that_makes_no_sense_ends_that_connection_alone(path: Path) -> None:
    users = SimUsers(str(path))
    await users.say("room", "alice", "hello")
    for nonsense in (b"{nonsense}\n", b"[1]\n", b"x" * (MAX_LINE + 10)):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(nonsense)
        async with asyncio.timeout(LIMIT):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    with pytest.raises(SimRefused, match="earthquake"):
        await users.fault("earthquake")
    assert await users.unacknowledged() == 1
    await users.close()


async def test_an_unknown_verb_is_refused(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(encode({"id": 7, "do": "dance"}) + encode({"id": 8, "do": "say", "chat": "room"}))
    answers = [await reader.readline(), await reader.readline()]
    assert all(b'"status":400' in answer for answer in answers)
    writer.close()
    await writer.wait_closed()


async def test_nobody_there_is_certain_and_gone_in_between_is_not(tmp_path: Path) -> None:
    path = tmp_path / "sim.sock"
    link = SocketLink(str(path), "t", SystemClock())
    with pytest.raises(SimUnreachable):
        await link.send(Sending("k", "room", "hi"))

    process = await spawn(path)
    polling = asyncio.ensure_future(link.poll(LIMIT))
    await link.send(Sending("k", "room", "hi"))
    await end(process)
    with pytest.raises(SimCut) as caught:
        await polling

    assert not isinstance(caught.value, SimUnreachable)
    process = await spawn(path)
    await link.send(Sending("k", "room", "hi again"))
    await link.close()
    await end(process)
