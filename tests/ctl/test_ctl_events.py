"""`gatewayctl events`, `publish` and `clients` against the real daemon: filters, cursors, who is slow."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from gateway.v1 import admin_service_pb2

from gatewayctl.client import Call, Client, Event, event_filter, new_event
from tests.ctl.command import Process, run
from tests.rigs.house import eventually
from tests.rigs.process import Daemon
from tests.rigs.stream import RawStream

pytestmark = pytest.mark.usefixtures("quiet_environment")

CONFIG = """\
gateway: {reconnect_timeout: 60s}
agents: {assistant: {model: offline/echo}, lookup: {remote: true}}
bus: {history: {max_events: 50000}}
"""


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path, CONFIG) as daemon:
        yield daemon


async def events(daemon: Daemon, *words: str) -> list[dict[str, Any]]:
    done = await run(daemon, "-o", "json", "events", *words)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def note(number: int, **envelope: str) -> Event:
    return new_event("custom", {"n": number}, custom_type="note", **envelope)


def numbers(found: list[dict[str, Any]]) -> list[int]:
    return [each["data"]["n"] for each in found]


async def test_behind_a_cursor_come_the_first_oldest_first_over_many_pages(daemon: Daemon) -> None:
    async with daemon.client() as client:
        start = await client.publish(note(-1, topic="many"))
        for first in range(0, 1500, 500):
            await client.publish([note(number, topic="many") for number in range(first, first + 500)])
        await client.publish([note(number, topic="else") for number in range(2500)])
        await client.publish(note(1500, topic="many"))

    assert numbers(await events(daemon, "--since", start, "--topic", "many", "--limit", "1600")) == list(range(1501))
    assert numbers(await events(daemon, "--since", start, "--topic", "many", "--limit", "3")) == [0, 1, 2]
    assert numbers(await events(daemon, "--topic", "many", "--limit", "2")) == [1499, 1500]
    third = (await events(daemon, "--since", start, "--limit", "3"))[-1]["cursor"]
    assert numbers(await events(daemon, "--since", third, "--limit", "2")) == [3, 4]


async def test_each_filter_selects_and_together_they_are_anded(daemon: Daemon) -> None:
    """P4.3 at the command line."""
    fields = {"topic": "a.b", "stream_id": "st", "node_id": "no", "execution_id": "ex", "correlation_id": "co"}
    async with daemon.client() as client:
        await client.publish([note(0), note(1, **fields), *(note(2, **{key: value}) for key, value in fields.items())])
        sent = await client.send("assistant", "hello")
    words = ["--topic", "a.>", "--stream", "st", "--node", "no", "--execution", "ex", "--correlation", "co"]

    assert numbers(await events(daemon, *words)) == [1]
    for option in range(0, len(words), 2):
        assert sorted(numbers(await events(daemon, *words[option : option + 2]))) == [1, 2]
    (session,) = {each["session_id"] for each in await events(daemon, "--execution", sent.execution_id)}
    kinds = {each["type"] for each in await events(daemon, "--session", session, "--type", "message,session_started")}
    assert kinds == {"message", "session_started"}


async def test_following_begins_behind_the_cursor_and_goes_on(daemon: Daemon) -> None:
    async with daemon.client() as client:
        start = await client.publish(note(0, topic="orders.eu"))
        await client.publish([note(1, topic="orders.eu"), note(2, topic="people")])
        command = await Process.start(
            *("--address", daemon.address, "-o", "json", "events", "--follow"),
            *("--type", "custom", "--topic", "orders.>", "--since", start),
        )
        assert json.loads(await command.line())["data"]["n"] == 1
        await client.publish([note(3, topic="people"), note(4, topic="orders.us.new")])
        assert json.loads(await command.line())["data"]["n"] == 4
        command.process.send_signal(signal.SIGINT)
        assert (await command.end()).code == 0


async def test_publish_says_whom_it_is_addressed_to(daemon: Daemon) -> None:
    async with daemon.client("worker") as worker:
        told = await run(daemon, "publish", "broadcast", "--data", '{"content": "hello"}')
        mine = await run(daemon, "publish", "message", "--target", "worker", "--data", '{"content": "psst"}')
        nobody = await run(daemon, "publish", "message", "--target", "nobody")
        heard = [await anext(worker.addressed()), await anext(worker.addressed())]

    assert "addressed to  1 client\n" in told.out
    assert "addressed to  1 client\n" in mine.out
    assert nobody.code == 4
    assert "'nobody'" in nobody.err
    assert [each.broadcast.content or each.message.content for each in heard] == ["hello", "psst"]


async def test_publish_to_an_agent_says_whether_a_worker_has_it(daemon: Daemon) -> None:
    """It waits for one that comes."""
    early = await run(daemon, "publish", "message", "--target", "lookup", "--data", '{"content": "early"}')
    async with daemon.client("worker") as worker, worker.serve_agent("lookup", _no_call):
        told = await run(daemon, "publish", "message", "--target", "lookup", "--data", '{"content": "told"}')
        heard = [await anext(worker.addressed()), await anext(worker.addressed())]

    assert "addressed to  0 clients; it waits for a worker, or is for entry points alone\n" in early.out
    assert "addressed to  1 client\n" in told.out
    assert [each.message.content for each in heard] == ["early", "told"]


async def _no_call(call: Call) -> str:
    raise AssertionError(f"an event is no call: {call}")


async def listed(client: Client, client_id: str) -> admin_service_pb2.Client | None:
    request = admin_service_pb2.ListClientsRequest()
    answer = await client.call("AdminService/ListClients", request, admin_service_pb2.ListClientsResponse)
    return next((each for each in answer.clients if each.client_id == client_id), None)


async def test_clients_show_who_is_behind_and_who_is_away(daemon: Daemon) -> None:
    """Queue, lag and policy of each subscription; one that is away with what waits for it (P10.1)."""
    text = "x" * 60_000
    async with daemon.client("publisher") as publisher:
        async with RawStream(daemon.address) as slow:
            await slow.hello("slow")
            await slow.subscribe("all", event_filter(topic="flood"), buffer_bytes=1 << 20)
            await slow.subscribe("other", event_filter(topic="none"), overflow="OVERFLOW_DROP_OLDEST")

            async def is_slow() -> bool:
                """Soon after its first blocked write, which is ten seconds before it is cut."""
                flood = [new_event("custom", {"text": text}, custom_type="note", topic="flood") for _ in range(5)]
                await publisher.publish(flood)
                client = await listed(publisher, "slow")
                assert client is not None
                return any(each.state == admin_service_pb2.CLIENT_QUEUE_STATE_SLOW for each in client.queues)

            await eventually(is_slow)
            table, queues = await asyncio.gather(
                run(daemon, "clients"), run(daemon, "-o", "json", "clients", "--queues")
            )

        async def is_away() -> bool:
            client = await listed(publisher, "slow")
            return client is not None and client.state == admin_service_pb2.CLIENT_STATE_AWAY

        await eventually(is_away)
        assert await publisher.announce(note(1, target="slow")) == 1
        away = await run(daemon, "-o", "json", "clients")

    (line,) = [each for each in table.out.splitlines() if each.startswith("slow ")]
    assert " events, " in line
    assert "disconnect, drop oldest" in line
    own = {each["subscription_id"]: each for each in json.loads(queues.out) if each["client_id"] == "slow"}
    assert set(own) == {"", "all", "other"}
    assert own["all"]["state"] == "slow"
    assert own["all"]["queued_bytes"] * 2 >= own["all"]["limit_bytes"] == 1 << 20
    assert own["all"]["behind"] >= own["all"]["queued_events"] > 0
    assert own["all"]["oldest_queued_time"]
    assert own["other"]["overflow"] == "drop_oldest"
    (waiting,) = [each for each in json.loads(away.out) if each["client_id"] == "slow"]
    assert (waiting["state"], waiting["queued_events"], waiting["subscriptions"]) == ("away", 1, 2)
