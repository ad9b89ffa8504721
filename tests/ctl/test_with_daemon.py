"""gatewayctl and the SDK against the real daemon, killed and restarted under them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatewayctl.client import (
    Client,
    Event,
    GatewayError,
    PermissionDenied,
    Unauthenticated,
    event_filter,
    new_event,
)
from tests.ctl.command import Process, run
from tests.rigs.process import Daemon

pytestmark = pytest.mark.usefixtures("quiet_environment")

CONFIG = """\
agents:
  assistant: {model: offline/echo, greeting: Hello!}
channels:
  demo:
    platform: sim
    routing: {default: assistant}
bus:
  history: {max_events: 5000}
"""


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path, CONFIG) as daemon:
        yield daemon


async def values(daemon: Daemon, *words: str) -> object:
    done = await run(daemon, "-o", "json", *words)
    assert done.code == 0, done.err
    return json.loads(done.out)


async def test_a_message_can_be_followed_from_its_sending_to_its_end(daemon: Daemon) -> None:
    sent = await values(daemon, "send", "--channel", "demo", "hello")
    assert isinstance(sent, dict)
    assert sent["content"] == "hello"

    trace = await run(daemon, "trace", sent["message_id"])
    by_execution = await values(daemon, "trace", sent["execution_id"])
    messages = await values(daemon, "messages", "--state", "answered")
    session = await run(daemon, "sessions", "show", sent["session_id"])

    assert trace.code == 0
    assert "received" in trace.out
    assert trace.out.splitlines()[-1].split()[-2:] == ["ended", "answered"]
    assert isinstance(by_execution, dict)
    assert by_execution["message"]["id"] == sent["message_id"]
    assert isinstance(messages, list)
    assert [each["id"] for each in messages] == [sent["message_id"]]
    assert session.out.splitlines()[-2:][0].endswith("user: hello")


async def test_status_knows_the_daemon(daemon: Daemon) -> None:
    quick = await values(daemon, "status", "--daemon-only")
    full = await values(daemon, "status")

    assert isinstance(quick, dict)
    assert isinstance(full, dict)
    assert quick["pid"] == full["pid"] == daemon.process.pid
    assert quick["config_digest"] == full["config_digest"]
    assert [each["name"] for each in full["channels"]] == ["demo"]
    assert "channels" not in quick


async def test_a_reload_is_planned_then_done_and_a_bad_one_is_refused(daemon: Daemon) -> None:
    daemon.write(CONFIG.replace("channels:", "  sales: {model: offline/echo}\nchannels:"))
    plan = await run(daemon, "reload", "--plan")
    agents_before = await values(daemon, "agents")
    done = await run(daemon, "reload", "--wait")
    agents_after = await values(daemon, "agents")
    daemon.write("nonsense: 1\n")
    refused = await run(daemon, "reload", "--wait")

    assert "+ agents.sales" in plan.out
    assert isinstance(agents_before, list)
    assert isinstance(agents_after, list)
    assert (len(agents_before), len(agents_after)) == (1, 2)
    assert done.code == 0
    assert refused.code == 1
    assert f"{daemon.config}:1:1: nonsense" in refused.err


async def test_a_chat_shows_its_answers(daemon: Daemon) -> None:
    done = await run(daemon, "chat", "assistant", stdin="one\ntwo\n")

    assert (done.code, done.out) == (0, "Hello!\none\ntwo\n")


async def test_a_token_is_made_used_and_revoked(daemon: Daemon) -> None:
    """From `token new` to the end of its streams, over TCP, where nothing goes without one."""
    made = json.loads((await run(daemon, "-o", "json", "token", "new", "ci", "--scope", "admin.read")).out)
    daemon.write(f"{CONFIG}clients: {json.dumps(made['clients'])}\n")
    assert (await run(daemon, "reload")).code == 0
    address = f"127.0.0.1:{daemon.port}"

    bare = await (await Process.start("--address", address, "status")).end()
    async with Client(address, token=made["token"], connect_timeout=0) as client:
        status = await client.status()
        with pytest.raises(PermissionDenied):
            await client.send("assistant", "hello")
        revoked = await run(daemon, "token", "revoke", "ci")
        with pytest.raises(Unauthenticated):
            async with asyncio.timeout(60):
                await client.status()

    assert bare.code == 5
    assert status.pid == daemon.process.pid
    assert "revoked" in revoked.out


async def test_everything_acknowledged_is_there_once_after_kills(daemon: Daemon) -> None:
    """A publisher and a reader live through three kill -9: no acknowledged event is missing, none comes twice."""
    acknowledged: set[str] = set()
    seen: list[str] = []
    done = asyncio.Event()

    async def publish(client: Client, lane: int) -> None:
        number = 0
        while not done.is_set():
            name = f"{lane}-{number}"
            await client.publish(new_event("custom", {"name": name}, custom_type="mine"))
            acknowledged.add(name)
            number += 1

    async def read(events: AsyncIterator[Event]) -> None:
        async for event in events:
            seen.append(dict(event.custom.json)["name"])

    async with daemon.client("reader") as reader, daemon.client("writer") as writer:
        reading = asyncio.create_task(read(await reader.subscribe(event_filter(["custom"])).started()))
        writing = [asyncio.create_task(publish(writer, lane)) for lane in range(8)]
        for _ in range(3):
            before = len(acknowledged)
            async with asyncio.timeout(60):
                while len(acknowledged) < before + 500:
                    await asyncio.sleep(0.01)
            await daemon.kill()
            await daemon.stop()
            await daemon.start()
        done.set()
        await asyncio.gather(*writing)
        async with asyncio.timeout(60):
            while not acknowledged <= set(seen):
                await asyncio.sleep(0.05)
        reading.cancel()

    assert len(seen) == len(set(seen))
    assert len(acknowledged) >= 1500
    for lane in range(8):
        mine = [int(name.split("-")[1]) for name in seen if name.startswith(f"{lane}-")]
        assert mine == sorted(mine)


async def test_a_send_is_answered_across_a_kill(daemon: Daemon) -> None:
    """Sent before, answered after: by one execution."""
    async with daemon.client("asker") as client:
        asked = [asyncio.create_task(client.send("assistant", f"question {number}")) for number in range(20)]
        await asyncio.sleep(0.01)
        await daemon.kill()
        await daemon.stop()
        await daemon.start()
        async with asyncio.timeout(60):
            replies = await asyncio.gather(*asked)

    assert [reply.content for reply in replies] == [f"question {number}" for number in range(20)]
    assert len({reply.execution_id for reply in replies}) == 20


async def test_a_restart_with_drain_is_survived(daemon: Daemon) -> None:
    async with daemon.client("patient") as client, client.subscribe(event_filter(["message"])) as events:
        await daemon.stop()
        await daemon.start()
        async with asyncio.timeout(60):
            await client.publish(new_event("message", {"content": "after"}))
            event = await anext(events)

    assert event.message.content == "after"
    assert events.connects == 2


async def test_a_filter_that_is_refused_is_an_error_of_the_subscription(daemon: Daemon) -> None:
    async with daemon.client() as client:
        with pytest.raises(GatewayError):
            await client.subscribe(since="nonsense").started()
