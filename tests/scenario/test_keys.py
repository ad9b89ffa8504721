"""Keys of gateway.yaml that no other story turns: each is set to something else than its default, and seen to act."""

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from gateway.v1 import admin_service_pb2

from gatewayctl.client import Client, ExecutionFailed, Unavailable, new_event
from gatewayd.config.checking import read
from gatewayd.config.model import GatewayConfig, RetentionSection
from gatewayd.config.section import settings_of
from gatewayd.daemon.upkeep import retention
from tests.platforms.openai_server import OpenAIServer, text, tool_call
from tests.platforms.openai_server import error as failing
from tests.rigs.house import eventually, house
from tests.rigs.process import Daemon

ECHO = "agents: {echo: {model: offline/echo}}\n"
TABLES = tuple(settings_of(RetentionSection))


async def test_where_it_listens_and_who_gets_in_is_as_the_file_says(tmp_path: Path) -> None:
    """gateway.host, port, socket and auth_token."""
    socket = tmp_path / "elsewhere.sock"
    token = "a token of the operator's own choice"
    config = f"gateway: {{host: '::1', port: 0, socket: {socket}, auth_token: {token}}}\n{ECHO}"
    daemon = Daemon(tmp_path, config)
    daemon._arguments = []
    await daemon.start()
    try:
        async with Client(f"unix:{socket}") as local:
            assert (await local.send("echo", "by the socket")).content == "by the socket"
        async with Client(f"[::1]:{daemon.port}", token=token) as remote:
            assert (await remote.send("echo", "by the token")).content == "by the token"
        with pytest.raises(Unavailable):
            async with Client(f"127.0.0.1:{daemon.port}", token=token, connect_timeout=0):
                pass
        assert not (daemon.runtime / "gatewayd.sock").exists()
        assert not (daemon.state / "token").exists()
        assert token not in daemon.log.read_text()
    finally:
        assert await daemon.stop() == 0


async def test_the_port_of_the_file_is_taken(tmp_path: Path) -> None:
    """gateway.port, when it is not 0."""
    async with Daemon(tmp_path, ECHO) as first:
        port = first.port
    second = Daemon(tmp_path, f"gateway: {{port: {port}}}\n{ECHO}")
    second._arguments = []
    async with second:
        assert second.port == port


async def test_strict_refuses_what_is_only_a_warning_otherwise(tmp_path: Path) -> None:
    """gateway.strict: an unset variable ends the start with 78, naming it."""
    config = "gateway: {strict: true}\nagents: {echo: {model: offline/echo, api_key: '${NOT_SET_ANYWHERE}'}}\n"
    daemon = Daemon(tmp_path, config)
    with pytest.raises(AssertionError, match="NOT_SET_ANYWHERE"):
        await daemon.start()

    assert await daemon.ended() == 78
    await daemon.stop()


async def test_the_log_is_as_loud_and_as_formed_as_the_file_says(tmp_path: Path) -> None:
    """gateway.logging.level and format."""
    config = "gateway: {logging: {level: warning, format: json}}\nstorage: {durability: relaxed}\n" + ECHO
    daemon = Daemon(tmp_path, config)
    async with daemon:
        pass

    log = daemon.log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert [line["level"].lower() for line in lines] == ["warning"]
    assert "listening" not in log


async def test_a_drain_takes_no_longer_than_the_file_says(tmp_path: Path) -> None:
    """gateway.drain_timeout: what runs longer is cut off, and goes on after the next start."""
    config = "gateway: {drain_timeout: 1s}\nagents: {slow: {model: offline/slow}}\n"
    async with house(tmp_path, config) as rig:
        answer = rig.client.stream("slow", "1h never ends")
        await answer.accepted()
        async with asyncio.timeout(60):
            assert await rig.daemon.stop() == 0
        (took,) = re.findall(r"drain_seconds=([0-9.]+)", rig.daemon.log.read_text())
        assert 0.9 <= float(took) < 60
        answer.abandon()


async def test_the_store_is_where_and_as_safe_as_the_file_says(tmp_path: Path) -> None:
    """storage.url names the file; durability: relaxed says at the start what may be lost."""
    place = tmp_path / "db" / "other.db"
    place.parent.mkdir(mode=0o700)
    config = f"storage: {{url: 'sqlite://{place}', durability: relaxed}}\n{ECHO}"
    async with house(tmp_path, config) as rig:
        await rig.client.send("echo", "kept elsewhere")
        log = rig.daemon.log.read_text()

    assert place.exists()
    assert not (rig.daemon.state / "gatewayd.db").exists()
    assert "storage_relaxed" in log


@pytest.mark.parametrize("table", TABLES)
def test_every_bound_of_retention_reaches_the_store(table: str) -> None:
    """storage.retention.<table>: max_age, max_count and max_bytes, each alone and 0 for none."""
    for bound, value, expected in (("max_age", "1h", 3600.0), ("max_count", 7, 7), ("max_bytes", "64KiB", 65_536)):
        others = dict.fromkeys({"max_age", "max_count", "max_bytes"} - {bound}, 0)
        config = read(GatewayConfig, {"storage": {"retention": {table: {bound: value} | others}}})
        limits = retention(config).tables[table]

        assert getattr(limits, bound) == expected
        assert [getattr(limits, other) for other in others] == [0, 0]


def test_every_bound_of_history_reaches_the_store() -> None:
    """bus.history: max_events, max_age and max_bytes."""
    history = {"max_events": 5, "max_age": "2h", "max_bytes": "64KiB"}
    limits = retention(read(GatewayConfig, {"bus": {"history": history}})).tables["events"]

    assert (limits.max_count, limits.max_age, limits.max_bytes) == (5, 7200.0, 65_536)


async def test_every_table_is_cut_to_its_bound(tmp_path: Path) -> None:
    """storage.retention.<table>.max_count in a running daemon, for every table that a message fills."""
    bounds = ", ".join(f"{table}: {{max_count: 2}}" for table in TABLES)
    config = f"""
gateway: {{session_config: {{timeout: 1s}}}}
agents: {{echo: {{model: offline/echo}}}}
channels: {{sim: {{server: "unix:@net", routing: {{dm: echo}}}}}}
storage: {{retention: {{{bounds}}}}}
bus: {{history: {{max_events: 3}}}}
"""
    async with house(tmp_path, config) as rig:
        for number in range(6):
            rig.network.say(f"room{number}", f"peer{number}", "hello")
        for number in range(6):
            await rig.hear(f"room{number}")
        await rig.client.publish([new_event("custom", {}, custom_type="x") for _ in range(5)])
        await rig.daemon.stop()
        await rig.daemon.start()

        def rows() -> dict[str, int]:
            with closing(sqlite3.connect(f"file:{rig.daemon.state}/gatewayd.db?mode=ro", uri=True)) as connection:
                names = ("executions", "inbox", "outbox", "ledger", "seen", "events")
                return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}

        async def cut() -> bool:
            found = rows()
            return all(found[name] <= 2 for name in ("executions", "inbox", "outbox", "ledger", "seen"))

        await eventually(cut)


async def test_what_an_agent_is_reaches_its_model(tmp_path: Path) -> None:
    """agents.<id> and provider: every key that a model or its server sees, on the wire."""
    async with OpenAIServer() as server, OpenAIServer() as other:
        config = f"""
provider: {{model: openai/common, base_url: "{server.url}", api_key: common-key, retries: 1, timeout: 20s}}
agents:
  plain: {{}}
  full:
    model: openai/own
    base_url: "{other.url}"
    api_key: own-key
    instructions: Answer in rhyme.
    role: poet
    goal: fame
    backstory: born at sea
    temperature: 0.25
    max_tokens: 77
    tools: [current_time]
    tool_choice: required
    max_steps: 2
    greeting: Ahoy!
  bare: {{system_prompt: Be brief., llm: openai/bare, tools: []}}
  falls: {{model: openai/down, fallback_models: [offline/echo]}}
"""
        async with house(tmp_path, config) as rig:
            await rig.client.send("plain", "hello")
            other.script(tool_call("current_time", "{}"), text("a rhyme"))
            assert (await rig.client.send("full", "sing")).content == "a rhyme"
            await rig.client.send("bare", "hello")
            server.script(failing(500), failing(500))
            assert (await rig.client.send("falls", "to the next")).content == "to the next"
            server.script(failing(500), failing(500))
            with pytest.raises(ExecutionFailed):
                await rig.client.send("plain", "retried once")
            agents = await rig.client.call(
                "AdminService/ListAgents", admin_service_pb2.ListAgentsRequest(), admin_service_pb2.ListAgentsResponse
            )

    first, last = other.requests
    assert (first["model"], first["temperature"], first["max_tokens"]) == ("own", 0.25, 77)
    assert first["messages"][0]["content"] == "Answer in rhyme.\n\nRole: poet\n\nGoal: fame\n\nBackstory: born at sea"
    assert [tool["function"]["name"] for tool in first["tools"]] == ["current_time"]
    assert first["tool_choice"] == "required"
    assert last.get("tool_choice") == "none", "the last of max_steps offers no tools"
    assert set(other.keys) == {"own-key"}
    models = [request["model"] for request in server.requests]
    assert models == ["common", "bare", "down", "down", "common", "common"]
    bare = server.requests[1]
    assert bare["messages"][0]["content"] == "Be brief."
    assert not bare.get("tools")
    assert server.requests[0]["tools"]
    assert set(server.keys) == {"common-key"}
    assert {each.id: each.greeting for each in agents.agents}["full"] == "Ahoy!"


async def test_a_call_of_a_model_has_its_own_deadline(tmp_path: Path) -> None:
    """provider.timeout, of one call, beside the agent's of the whole answer."""
    config = "provider: {timeout: 200ms, retries: 0}\nagents: {slow: {model: offline/slow, timeout: 1h}}\n"
    async with house(tmp_path, config) as rig:
        with pytest.raises(ExecutionFailed):
            await rig.client.send("slow", "1h never")
