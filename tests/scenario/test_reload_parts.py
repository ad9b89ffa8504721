"""What a reload does to each part, seen from inside: who stays, who leaves, and what becomes of work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway.v1 import admin_service_pb2 as admin

from gatewayctl.client import Client, ExecutionFailed, GatewayError, NotFound
from gatewayd.channels.sim_network import SimPlatform
from gatewayd.core.clock import SystemClock, SystemRandomness
from gatewayd.testing.sim_platform import serving
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess


async def reload(client: Client, **request: object) -> admin.ReloadConfigResponse:
    """Ask for it as an operator does; GatewayError when it is refused."""
    asked = admin.ReloadConfigRequest(**request)  # type: ignore[arg-type]
    return await client.call("AdminService/ReloadConfig", asked, admin.ReloadConfigResponse, timeout=30)


@contextlib.asynccontextmanager
async def running(place: Path, config: str, *, port: int | None = 0) -> AsyncIterator[tuple[InProcess, Client]]:
    """A gateway and a client of it."""
    async with InProcess(place, config, port=port) as gateway, gateway.client("operator") as client:
        yield gateway, client


# Work and the configuration that it began with


async def test_F20_a_running_execution_ends_on_the_configuration_it_began_with(tmp_path: Path) -> None:
    """The turn that runs is answered by the old model; the next one of the same session by the new."""
    async with running(tmp_path, "agents: {a: {model: offline/slow}}") as (gateway, client):
        old = client.stream("a", "100ms the old model drops the pause")
        await old.accepted()
        gateway.write("agents: {a: {model: offline/echo}}")
        await reload(client)

        assert (await client.send("a", "100ms verbatim")).content == "100ms verbatim"
        assert (await old.wait()).content == "the old model drops the pause"


async def test_F21_the_work_of_an_agent_that_left_ends_and_is_told(tmp_path: Path) -> None:
    """What runs is finished; what was queued behind it fails with a reason, over gRPC and in the chat; nobody hangs."""
    stays = "agents: {stays: {model: offline/echo}"
    channel = "channels: {sim: {routing: {dm: AGENT}}}\n"
    before = stays + ", leaves: {model: offline/slow}}\n" + channel.replace("AGENT", "leaves")
    async with running(tmp_path, before) as (gateway, client):
        network = gateway.adapter("sim").platform
        runs = client.stream("leaves", "600ms still at it")
        queued = client.stream("leaves", "1ms too late")
        await runs.accepted()
        await queued.accepted()
        for text in ("2s runs", "1ms waits"):
            network.say("room", "ann", text)
        await network.wait_acknowledged(timeout=60)
        gateway.write(stays + "}\n" + channel.replace("AGENT", "stays"))
        await reload(client)

        with pytest.raises(NotFound):
            await client.send("leaves", "is anybody there?")
        assert (await runs.wait()).content == "still at it"
        with pytest.raises(ExecutionFailed, match="there is no agent 'leaves'"):
            await queued.wait()
        heard = [each.text for each in await network.wait_heard(2, "room", timeout=60)]
        assert heard[0] == "runs"
        assert heard[1].startswith("Sorry, this did not work: there is no agent 'leaves'")
        network.say("room", "ann", "and now?")
        assert (await network.wait_heard(3, "room", timeout=60))[2].text == "and now?"


async def test_F21_a_channel_that_leaves_sends_what_is_being_answered(tmp_path: Path) -> None:
    """It takes nothing more, but the answer that an agent is at still goes out before the channel is closed."""
    agents = "agents: {slow: {model: offline/slow}}\n"
    async with running(tmp_path, agents + "channels: {sim: {routing: {dm: slow}}}\n") as (gateway, client):
        adapter = gateway.adapter("sim")
        adapter.platform.say("room", "ann", "300ms last words")
        await adapter.platform.wait_acknowledged(timeout=60)
        gateway.write(agents)
        await reload(client)

        assert [each.text for each in adapter.platform.heard("room")] == ["last words"]
        assert gateway.house.channels.statuses() == []


async def test_F21_an_answer_that_came_too_late_waits_for_the_return_of_its_channel(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An execution outlives its channel: it ends as always, and its answer is sent when the channel is back."""
    network = SimPlatform(SystemClock(), SystemRandomness())
    agents = "agents: {slow: {model: offline/slow}}\n"
    sim = f"channels: {{sim: {{server: 'unix:{tmp_path}/net', routing: {{dm: slow}}}}}}\n"
    async with serving(network, tmp_path / "net"), running(tmp_path, agents + sim) as (gateway, client):
        network.say("room", "ann", "7s late")
        await network.wait_acknowledged(timeout=60)
        gateway.write(agents)
        await reload(client)
        async with asyncio.timeout(60):
            await gateway.house.runtime.idle()
        assert network.heard("room") == []
        (left,) = [one for one in caplog.records if one.message == "channel_leaves_unanswered"]
        assert (left.levelname, vars(left)["executions"]) == ("WARNING", 1)

        gateway.write(agents + sim)
        await reload(client)

        assert [each.text for each in await network.wait_heard(1, "room", timeout=60)] == ["late"]


# What is touched, and what is not

TWO = """
agents: {a: {model: offline/echo}, b: {model: offline/echo}}
channels:
  one: {platform: sim, token: one, routing: {dm: a}}
  two: {platform: sim, token: two, routing: {dm: a}}
"""


@pytest.mark.parametrize(
    "change",
    [("{platform: sim, token: two, routing: {dm: a}}", "{platform: sim, token: bad, routing: {dm: a}}"),
     ("  two:", "  more: {platform: sim, token: bad, routing: {dm: b}}\n  two:")],
    ids=["changed", "added"],
)  # fmt: skip
async def test_F23_a_refused_token_undoes_everything(tmp_path: Path, change: tuple[str, str]) -> None:
    """The first channel was prepared when the platform refused the second one's token: nothing of it remains."""
    async with running(tmp_path, TWO) as (gateway, client):
        house = gateway.house
        before = [gateway.adapter(name) for name in ("one", "two")]
        tasks, config, agent = asyncio.all_tasks(), house.reloader.config, house.agents.get("a")
        gateway.write(
            TWO.replace("token: one", "token: other")
            .replace(*change)
            .replace("agents: {a: {", "agents: {c: {model: offline/echo}, a: {instructions: new, ")
            + "clients: {new: {token_sha256: "
            + "a" * 64
            + ", scopes: ['admin.read']}}\n"
        )

        with pytest.raises(
            GatewayError, match=r"the token is refused: put a valid one into channels\.(two|more)\.token"
        ):
            await reload(client)

        assert [gateway.adapter(name) for name in ("one", "two")] == before
        assert house.reloader.config is config
        assert house.agents.get("a") is agent
        assert house.agents.names() == ["a", "b"]
        assert [one.name for one in house.channels.statuses()] == ["one", "two"]
        assert not [task for task in asyncio.all_tasks() - tasks if "channel" in task.get_name()]
        for adapter, token in zip(before, ("one", "two"), strict=True):
            adapter.platform.say("room", "ann", "still there?", token=token)
            assert (await adapter.platform.wait_heard(1, "room", timeout=60))[0].text == "still there?"


async def test_F23_a_bad_token_from_the_start_fails_its_channel_and_refuses_no_later_reload(tmp_path: Path) -> None:
    """At the start it is the state of the channel; later it is refused only where it was changed (P1.6)."""
    config = TWO.replace("token: two", "token: bad")
    async with running(tmp_path, config) as (gateway, client):
        status = await client.status()
        (sentence,) = status.degraded
        assert "channels.two.token" in sentence
        gateway.write(config.replace("{dm: a}", "{dm: b}"))
        await reload(client)

        gateway.adapter("one").platform.say("room", "ann", "hello", token="one")
        assert (await gateway.adapter("one").platform.wait_heard(1, "room", timeout=60))[0].text == "hello"


async def test_a_changed_route_or_policy_touches_no_adapter(tmp_path: Path) -> None:
    """Everything but the connection's own keys is swapped under the running adapter."""
    async with running(tmp_path, TWO) as (gateway, client):
        adapters = [gateway.adapter(name) for name in ("one", "two")]
        more = "group_policy: respond_all, rate_limit: 5, max_message_length: 100, busy_mode: steer, ambiguous: resend"
        gateway.write(TWO.replace("routing: {dm: a}", f"routing: {{dm: b}}, {more}"))
        report = await reload(client)

        assert report.applied
        assert "channels.one.routing.dm" in [*report.changed, *report.added]
        assert [gateway.adapter(name) for name in ("one", "two")] == adapters
        assert gateway.house.channels.max_message_length("one") == 100


async def test_the_content_of_a_secret_file_alone_reconnects_that_channel_only(tmp_path: Path) -> None:
    """The digest covers what a reference points to (P1.6); the others do not notice."""
    secret = tmp_path / "token"
    secret.write_text("first\n")
    secret.chmod(0o600)
    async with running(tmp_path, TWO.replace("token: one", f"token: 'file:{secret}'")) as (gateway, client):
        one, two = gateway.adapter("one"), gateway.adapter("two")
        same = await reload(client)
        assert same.digest == same.previous_digest
        assert gateway.adapter("one") is one

        secret.write_text("second\n")
        report = await reload(client)

        assert report.digest != report.previous_digest
        assert [*report.changed] == ["channels.one.token"]
        assert gateway.adapter("one") is not one
        assert gateway.adapter("two") is two
        platform = gateway.adapter("one").platform
        platform.say("room", "ann", "with the new token", token="second")
        assert (await platform.wait_heard(1, "room", timeout=60))[0].text == "with the new token"


# All or nothing


RESTART = {
    "gateway.host": "host: localhost",
    "gateway.port": "port: 9",
    "gateway.socket": "socket: /run/elsewhere.sock",
    "gateway.limits.message_bytes": "limits: {message_bytes: 70000}",
    "gateway.limits.metadata_bytes": "limits: {metadata_bytes: 9000}",
    "storage.durability": "}\nstorage: {durability: relaxed",
    "storage.url": "}\nstorage: {url: 'sqlite:///elsewhere.db'",
}


async def test_F22_what_needs_a_restart_refuses_the_whole_by_its_name(tmp_path: Path) -> None:
    """Whatever else is in the file: the agent beside it does not come either."""
    good = "gateway: {port: 0}\nagents: {a: {model: offline/echo}}\n"
    async with running(tmp_path, good, port=None) as (gateway, client):
        for path, change in RESTART.items():
            keys = change if "port" in change else f"port: 0, {change}"
            gateway.write(f"gateway: {{{keys}}}\nagents: {{a: {{model: offline/echo}}, b: {{model: offline/echo}}}}\n")

            plan = await reload(client, validate_only=True)
            assert list(plan.restart_required) == [path]
            with pytest.raises(GatewayError) as refused:
                await reload(client)

            assert refused.value.reason == "RESTART_REQUIRED"
            assert f"need a restart: {path}" in refused.value.message
            assert gateway.house.agents.names() == ["a"]
            assert (await client.send("a", "still here")).content == "still here"
        assert not (await client.status()).last_reload.ok


async def test_two_operators_at_once_the_second_is_told(tmp_path: Path) -> None:
    """`expected_digest` is a condition, not a judgement on the file: the last reload stays the good one."""
    async with running(tmp_path, TWO) as (gateway, client):
        looked_at = (await client.status()).config_digest
        gateway.write(TWO.replace("{dm: a}", "{dm: b}"))
        first = await reload(client, expected_digest=looked_at)
        assert first.applied

        with pytest.raises(GatewayError) as refused:
            await reload(client, expected_digest=looked_at)

        assert refused.value.reason == "CONFIG_CHANGED"
        assert refused.value.metadata["digest"] == first.digest
        assert (await client.status()).last_reload.ok


async def test_who_asks_may_go_away_and_the_reload_comes_to_its_end(tmp_path: Path) -> None:
    """That ends its waiting, not the reload: nothing is left half-retired."""
    agents = "agents: {slow: {model: offline/slow}}\n"
    sim = "channels: {sim: {routing: {dm: slow}}}\n"
    async with running(tmp_path, agents + sim) as (gateway, client):
        adapter = gateway.adapter("sim")
        adapter.platform.say("room", "ann", "500ms last words")
        await adapter.platform.wait_acknowledged(timeout=60)
        gateway.write(agents + "channels: {new: {platform: sim, routing: {dm: slow}}}\n")
        asking = asyncio.create_task(reload(client))

        async def taken_over() -> bool:
            return "new" in {status.name for status in gateway.house.channels.statuses()}

        await eventually(taken_over)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

        report = await reload(client)

        assert report.digest == report.previous_digest
        assert [each.text for each in adapter.platform.heard("room")] == ["last words"]
        new = gateway.adapter("new").platform
        new.say("room", "ann", "1ms welcome")
        assert (await new.wait_heard(1, "room", timeout=60))[0].text == "welcome"
