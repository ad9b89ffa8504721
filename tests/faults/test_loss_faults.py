"""Clients that go without a word, by the thousand, or stay without one: noticed, let go of, and nobody else is hurt."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from gateway.v1 import event_pb2
from loss_storm import CONFIG as STORM
from loss_storm import holdings, storm
from stream_rig import MIB, PATIENCE, HandStream, clients, hello, resident, subscribe, wire, witness

from gatewayctl.client import event_filter
from tests.rigs.house import House, eventually, house
from tests.rigs.process import Daemon
from tests.rigs.stream import RawStream

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOTICED = 50.0
"""Seconds in which a client that vanished is missed: 25 and 10 of keepalive, and room for a busy machine.

Without a bound of ours it takes 60."""
Vanished = dict[str, asyncio.Task[event_pb2.Event]]
CLIENT = """
import asyncio, sys
sys.path[:0] = sys.argv[3:]
from tests.rigs.process import Daemon
from tests.rigs.stream import RawStream
async def main():
    async with RawStream(sys.argv[1], token=sys.argv[2]) as stream:
        await stream.hello("unplugged")
        await stream.subscribe("s")
        print("there", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("loss"), STORM) as rig:
        yield rig


# F47


class BlackHole:
    """A way to the daemon that at some moment carries nothing more, and closes nothing."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "BlackHole":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1")
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def swallow(self) -> None:
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", self._port)
        for source, target in ((reader, here), (there, writer)):
            self._tasks.add(asyncio.create_task(self._carry(source, target)))

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._open.wait()
                target.write(data)
                await target.drain()
        except ConnectionError:
            pass
        finally:
            target.close()


async def _missed(rig: House, name: str, cursor: str) -> event_pb2.Event:
    """Wait until the daemon holds nothing for that client any more; the event that says so."""

    async def gone() -> bool:
        return name not in await clients(rig)

    await eventually(gone, timeout=NOTICED)
    event, _ = await rig.event("disconnect", stream_id=name, since=cursor)
    return event


async def _swallowed(rig: House) -> event_pb2.Event:
    async with BlackHole(rig.daemon.port) as hole:
        async with RawStream(hole.address, token=rig.daemon.token) as stream:
            welcome = await stream.hello("swallowed")
            await stream.subscribe("s", event_filter(topic="lost"))
            hole.swallow()
            return await _missed(rig, "swallowed", welcome.cursor)


async def _unplugged(place: Path) -> event_pb2.Event:
    """The daemon and its client in a network of their own, whose only device goes down."""
    async with _networked(place) as rig:
        inside = ["nsenter", "--net", "--target", str(rig.daemon.process.pid)]
        target = f"127.0.0.1:{rig.daemon.port}"
        client = await asyncio.create_subprocess_exec(
            *inside, sys.executable, "-c", CLIENT, target, rig.daemon.token, *sys.path,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            assert client.stdout is not None
            async with asyncio.timeout(PATIENCE):
                assert await client.stdout.readline() == b"there\n"
            cursor = (await rig.event("connect", stream_id="unplugged", since=await _begin(rig)))[1]
            subprocess.run([*inside, "ip", "link", "set", "lo", "down"], check=True)
            return await _missed(rig, "unplugged", cursor)
        finally:
            client.kill()
            await client.wait()


async def _begin(rig: House) -> str:
    """The place before everything."""
    async with RawStream(rig.daemon.address) as stream:
        return (await stream.hello("asks")).cursor.partition(":")[0] + ":0"


@contextlib.asynccontextmanager
async def _networked(place: Path) -> AsyncIterator[House]:
    """A daemon with a loopback device of its own; its socket is a file, and reached from here."""
    shell = f'ip link set lo up && exec {Path(sys.executable).parent}/gatewayd "$@"'
    daemon = Daemon(place, STORM)
    await daemon.start(command=("unshare", "--net", "sh", "-c", shell, "sh"))
    try:
        async with daemon.client() as client:
            yield House(daemon, client, {})
    finally:
        await daemon.stop()


async def _can_unplug() -> bool:
    if os.geteuid() != 0 or not all(shutil.which(each) for each in ("ip", "unshare", "nsenter")):
        return False
    probe = await asyncio.create_subprocess_exec("unshare", "--net", "ip", "link", "set", "lo", "up")
    return await probe.wait() == 0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vanished(rig: House, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Vanished]:
    """Both ways to vanish at once: either takes half a minute to be noticed."""
    tasks = {"swallowed": asyncio.create_task(_swallowed(rig))}
    if await _can_unplug():
        tasks["unplugged"] = asyncio.create_task(_unplugged(tmp_path_factory.mktemp("net")))
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


async def test_F49_five_hundred_idle_connections_leave_room_for_the_next(rig: House, vanished: Vanished) -> None:
    """Each costs little, and a new client is served as ever (figure G10: 120 KiB each)."""
    before = resident(rig)
    async with contextlib.AsyncExitStack() as open_ones:
        idle = [HandStream(await open_ones.enter_async_context(wire(rig))) for _ in range(500)]
        for number, each in enumerate(idle):
            await each.open(rig.daemon.token, hello(f"idle-{number}"), subscribe("idle"))
        for each in idle:
            await each.until("accepted")
        assert resident(rig) - before < 500 * 120 * 1024
        async with witness(rig):
            assert len(await clients(rig)) >= 502

    async def all_gone() -> bool:
        return not any(name.startswith("idle") for name in await clients(rig))

    await eventually(all_gone, timeout=PATIENCE)


async def test_F47_a_client_behind_a_black_hole_is_missed(vanished: Vanished) -> None:
    """Nothing comes and nothing is closed: after keepalive the connection is gone, and told of as lost."""
    event = await vanished["swallowed"]
    assert event.disconnect.reason == "connection_lost"


async def test_F47_a_client_that_is_unplugged_is_missed(vanished: Vanished) -> None:
    """The same when the network itself is gone."""
    if "unplugged" not in vanished:
        pytest.skip("a network of its own needs root, ip, unshare and nsenter")
    event = await vanished["unplugged"]
    assert event.disconnect.reason == "connection_lost"


# F48


async def test_F48_a_storm_of_cancelled_calls_leaves_nothing_behind(rig: House, vanished: Vanished) -> None:
    """Reset, half-closed, by the thousand: no task, no descriptor, no conversation, no memory stays."""
    for task in vanished.values():
        await task
    await storm(rig, 2_000, 200)
    before = await holdings(rig)
    async with witness(rig):
        await storm(rig, 16_000, 1_000)
    after = await holdings(rig)
    assert after[0] - before[0] < 48 * MIB
    assert after[1] < before[1] + 10
    assert after[2] < before[2] + 20
