"""Reload as the process lives it: signals, the service manager's word, the log, and gatewayctl."""

import asyncio
import itertools
import re
import signal
from pathlib import Path

from gatewayctl.client import Client
from tests.rigs.house import House, eventually, house
from tests.rigs.process import Daemon

GOOD = "agents: {a: {model: offline/echo}}\n"
OTHER = "agents: {a: {model: offline/echo}, b: {model: offline/echo}}\n"
BROKEN = "agents:\n  a: {model: offline/echo, timout: 5s}\n"


async def reloaded(daemon: Daemon) -> list[str]:
    """SIGHUP, and what the service manager was told from then on until READY."""
    daemon.notices.clear()
    daemon.signal(signal.SIGHUP)
    await daemon.noticed("READY=1")
    return list(daemon.notices)


async def logged(daemon: Daemon, text: str, count: int = 1) -> list[str]:
    """The lines with that text, once there are so many."""
    async with asyncio.timeout(60):
        while len(lines := [line for line in daemon.log.read_text().splitlines() if text in line]) < count:
            await asyncio.sleep(0.02)
    return lines


async def test_F17_a_broken_file_changes_nothing_and_everybody_says_so(tmp_path: Path) -> None:
    """The old configuration serves on; log, service manager, status and events tell what is wrong and where."""
    daemon = Daemon(tmp_path, GOOD)
    daemon.log.touch()
    found = daemon.log.stat()
    daemon.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
    async with daemon, daemon.client() as client:
        digest = (await client.status()).config_digest
        events = await client.subscribe().started()
        daemon.write(BROKEN)

        reloading, *_, ready = await reloaded(daemon)

        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", reloading)
        assert "STATUS=" in ready
        assert "refused at the last reload" in ready
        (line,) = await logged(daemon, "config_rejected")
        assert line.startswith("<3>")
        assert "gateway.yaml:2:28: agents.a.timout: unknown key (did you mean timeout?)" in line
        async for event in events:
            if event.HasField("config_rejected"):
                (violation,) = event.config_rejected.violations
                assert "gateway.yaml:2:28" in violation
                break
        code, out, _ = await daemon.ctl("status")
        assert code == 0
        assert re.search(r"last reload\s+refused, .*gateway.yaml:2:28: agents.a.timout", out)
        assert (await client.status()).config_digest == digest
        assert (await client.send("a", "still here")).content == "still here"

        daemon.write(OTHER)
        *_, ready = await reloaded(daemon)

        assert "refused" not in ready
        assert (await client.send("b", "new")).content == "new"
        _, out, _ = await daemon.ctl("status")
        assert re.search(r"last reload\s+ok", out)


async def test_gatewayctl_reload_waits_plans_and_refuses(tmp_path: Path) -> None:
    """`ExecReload=gatewayctl reload --wait` fails visibly, with the place of each problem (P1.5)."""
    async with Daemon(tmp_path, GOOD) as daemon, daemon.client() as client:
        before = (await client.status()).config_digest
        daemon.write(BROKEN)
        for arguments in (["--wait"], ["--plan"], []):
            code, out, err = await daemon.ctl("reload", *arguments)
            assert code == 1
            assert "gateway.yaml:2:28: agents.a.timout: unknown key (did you mean timeout?)" in out + err

        assert len([line for line in await logged(daemon, "decision=refused") if "action=reload" in line]) == 2
        daemon.write("agents:\n" + "".join(f"  a{number}: {{timout: 1}}\n" for number in range(40)))
        code, out, err = await daemon.ctl("reload")
        assert code == 1
        assert "the configuration has 80 problems" in out + err
        assert "agents.a0.timout: unknown key" in out + err
        assert re.search(r"^and \d+ more$", out + err, re.MULTILINE)
        daemon.write(OTHER)
        code, out, _ = await daemon.ctl("reload", "--plan")
        assert code == 0
        assert "+ agents.b" in out
        assert (await client.status()).config_digest == before

        code, _, err = await daemon.ctl("reload", "--wait", "--expect-digest", "0" * 64)
        assert code == 1
        assert before[:12] in err

        daemon.notices.clear()
        code, out, _ = await daemon.ctl("reload", "--wait", "--expect-digest", before)
        assert code == 0
        assert "now serves" in out
        assert await daemon.noticed("RELOADING=1")
        assert await daemon.noticed("READY=1")
        assert (await client.send("b", "new")).content == "new"


def footprint(daemon: Daemon) -> tuple[int, int]:
    """Open descriptors and threads."""
    process = Path(f"/proc/{daemon.process.pid}")
    return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


async def tasks(daemon: Daemon, dumps: int) -> int:
    """How many there are, by the dump of SIGUSR1."""
    daemon.signal(signal.SIGUSR1)
    lines = await logged(daemon, 'line="tasks: ', dumps)
    return int(lines[-1].partition("tasks: ")[2].strip('"'))


PARKED = 8
"""Tasks that handlers have done with and that wait for the next ones."""


async def test_F18_a_thousand_hangups_are_a_few_reloads_and_the_last_one_wins(tmp_path: Path) -> None:
    """Nothing is left behind by them either: no descriptor, no thread, no task."""
    channels = "channels: {sim: {token: t, routing: {dm: a}}, local: {routing: {default: a}}}\n"
    async with Daemon(tmp_path, OTHER + channels) as daemon, daemon.client() as client:
        for text in (GOOD + channels, OTHER + channels):
            daemon.write(text)
            await reloaded(daemon)
        before, tasks_before = footprint(daemon), await tasks(daemon, 1)
        for number in range(1000):
            if number % 50 == 0:
                daemon.write(f"agents: {{a: {{model: offline/echo}}, n{number}: {{model: offline/echo}}}}\n{channels}")
            daemon.signal(signal.SIGHUP)
            if number % 20 == 0:
                await asyncio.sleep(0)
        daemon.write(GOOD.replace("a:", "last:") + channels.replace("dm: a", "dm: last").replace("t: a", "t: last"))
        daemon.signal(signal.SIGHUP)

        async with asyncio.timeout(60):
            while "last" not in (await daemon.ctl("agents"))[1]:
                await asyncio.sleep(0.05)
        await reloaded(daemon)

        assert (await client.send("last", "won")).content == "won"
        lines = await logged(daemon, "config_reloaded")
        assert len(lines) < 500
        # The store's readers come as they are needed, each a thread with its own connection.
        descriptors, threads = before[0] + 2 + 4 * 2, before[1] + 1 + 4
        dumps = itertools.count(2)

        async def settled() -> bool:
            """What was replaced is put away behind the reload."""
            after = footprint(daemon)
            few = after[0] <= descriptors and after[1] <= threads
            return few and await tasks(daemon, next(dumps)) <= tasks_before + PARKED

        await eventually(settled)


async def test_F19_a_hangup_during_the_start_is_kept_and_one_during_the_drain_is_ignored(tmp_path: Path) -> None:
    """Neither kills the daemon; both are in the log."""
    daemon = Daemon(tmp_path, "agents: {a: {model: offline/slow}}\ngateway: {drain_timeout: 3}\n")
    starting = asyncio.create_task(daemon.start())
    async with asyncio.timeout(60):
        while not daemon.log.exists() or "starting" not in daemon.log.read_text():
            await asyncio.sleep(0)
    daemon.signal(signal.SIGHUP)
    await starting
    await logged(daemon, "config_reloaded")

    async with daemon.client() as client:
        answer = client.stream("a", "400ms takes a while")
        await answer.accepted()
        daemon.signal(signal.SIGTERM)
        await logged(daemon, "stopping")
        daemon.signal(signal.SIGHUP)
        code, _, err = await daemon.ctl("reload", "--wait")
        assert code != 0, err
        assert await daemon.ended() == 0
    assert await logged(daemon, "ignored: stopping")
    assert len(await logged(daemon, "config_reloaded")) == 1
    await daemon.stop()


async def test_flags_survive_a_reload_and_are_named_as_the_origin(tmp_path: Path) -> None:
    """--host, --port and --agents hold for the run; the agents' file is read again with the other (P1.1)."""
    more = tmp_path / "more.yaml"
    more.write_text("agents: {extra: {model: offline/echo}}\n")
    flags = ["--host", "localhost", "--agents", str(more)]
    async with Daemon(tmp_path, GOOD, arguments=flags) as daemon, daemon.client() as client:
        port = daemon.port
        daemon.write("gateway: {host: 127.0.0.1, port: 9}\n" + OTHER)
        more.write_text("agents: {extra: {model: offline/echo}, another: {model: offline/echo}}\n")

        await reloaded(daemon)

        for agent in ("a", "b", "extra", "another"):
            assert (await client.send(agent, "here")).content == "here"
        async with Client(address=f"127.0.0.1:{port}", token=daemon.token, client_id="tcp") as other:
            assert (await other.send("extra", "same port")).content == "same port"
        more.write_text("agents: {a: {model: offline/echo}}\n")
        code, out, err = await daemon.ctl("reload")
        assert code == 1
        assert "more.yaml:1:10: agents.a: there are two agents a" in out + err


async def test_reloads_change_levels_limits_and_clients_live(tmp_path: Path) -> None:
    """What has no part of its own to be rebuilt still takes effect with the commit."""
    config = "agents: {a: {model: offline/echo}}\nchannels: {sim: {server: 'unix:@net', routing: {dm: a}}}\n"
    async with house(tmp_path, config) as rig:
        daemon = rig.daemon
        text = daemon.config.read_text()
        code, token, _ = await daemon.ctl("token", "new", "reader", "--scope", "admin.read", "-o", "json")
        assert code == 0
        secret, digest = re.findall(r'"(gw_[^"]+)"', token)[0], re.findall(r"[0-9a-f]{64}", token)[0]
        clients = f"clients: {{reader: {{token_sha256: {digest}, scopes: [admin.read]}}}}\n"
        daemon.write(text + clients + "gateway: {max_connections: 1, logging: {format: json, level: warning}}\n")
        await reloaded(daemon)

        address = f"127.0.0.1:{daemon.port}"
        daemon.environ |= {"GATEWAYD_ADDRESS": address, "GATEWAYD_TOKEN": secret}
        code, out, _ = await daemon.ctl("status")
        assert code == 0
        assert "1 of 1" in out
        code, _, err = await daemon.ctl("send", "a", "hello")
        assert code == 5, err
        await still_one(rig)

        daemon.write(text)
        await reloaded(daemon)
        code, _, err = await daemon.ctl("status")
        assert code == 5, err


async def still_one(rig: House) -> None:
    """The connection from before the limit is not thrown out by it."""
    assert (await rig.client.send("a", "here")).content == "here"
