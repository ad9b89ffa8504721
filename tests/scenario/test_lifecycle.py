"""The real daemon's life: first start, second instance, refusals and their exit codes, degradation, and its end."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gatewayctl.client import Client, GatewayError, Unavailable, event_filter, new_event
from tests.rigs.process import BIN, Daemon

ECHO = "agents: {a: {model: offline/echo}}\n"
UNSET = "agents: {a: {model: offline/echo, api_key: '${NO_KEY}'}}\n"


def ran(
    *arguments: str, place: Path, environ: Mapping[str, str] | None = None, timeout: float = 30
) -> subprocess.CompletedProcess[str]:
    """Run gatewayd to its end, with directories of its own below `place`."""
    base = {"PATH": os.environ["PATH"], "HOME": str(place), "STATE_DIRECTORY": str(place / "state"),
            "RUNTIME_DIRECTORY": str(place / "run")}  # fmt: skip
    return subprocess.run(
        [str(BIN / "gatewayd"), *arguments], cwd=place, env=base | dict(environ or {}), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def write(place: Path, text: str, name: str = "gateway.yaml") -> Path:
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


async def logged(daemon: Daemon, text: str) -> str:
    async with asyncio.timeout(60):
        while text not in (log := daemon.log.read_text()):
            await asyncio.sleep(0.02)
    return log


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_first_start_makes_what_it_needs_and_a_second_instance_disturbs_nobody(tmp_path: Path) -> None:
    """Token 0600, state 0700, socket 0660; whoever comes second exits 69 while streams of the first go on (F14)."""
    async with Daemon(tmp_path, ECHO) as daemon, daemon.client() as client:
        assert mode(daemon.state) == 0o700
        assert mode(daemon.state / "token") == 0o600
        assert mode(daemon.state / "gatewayd.db") == 0o600
        assert mode(daemon.runtime / "gatewayd.sock") == 0o660
        assert mode(daemon.runtime) & 0o027 == 0
        assert daemon.token not in daemon.log.read_text()
        events = await client.subscribe(event_filter(types=["message"], stream_id="s")).started()
        before = (daemon.runtime / "gatewayd.sock").stat().st_ino

        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        config = ["--config", str(daemon.config)]
        same = {"STATE_DIRECTORY": str(daemon.state), "RUNTIME_DIRECTORY": str(daemon.runtime)}
        second = await asyncio.to_thread(ran, *config, "--port", "0", place=elsewhere, environ=same)
        assert second.returncode == 69
        assert f"pid {daemon.process.pid}" in second.stderr
        taken = await asyncio.to_thread(ran, *config, "--port", str(daemon.port), place=elsewhere)
        assert taken.returncode == 69
        assert f"127.0.0.1:{daemon.port}" in taken.stderr

        assert (daemon.runtime / "gatewayd.sock").stat().st_ino == before
        await client.publish(new_event("message", {"content": "undisturbed"}, stream_id="s"))
        assert (await anext(events)).message.content == "undisturbed"
        assert client._conversation.connects == 1
        async with Client(f"127.0.0.1:{daemon.port}", token=daemon.token, client_id="tcp") as other:
            assert (await other.send("a", "hello")).content == "hello"
        with pytest.raises(GatewayError):
            async with Client(f"127.0.0.1:{daemon.port}", token="gw_default_" + "x" * 43, client_id="stranger"):
                pass
        kept = daemon.token
    await asyncio.to_thread(ran, "--version", place=elsewhere)
    await daemon.start()
    assert daemon.token == kept
    assert await daemon.stop() == 0
    assert not (daemon.runtime / "gatewayd.sock").exists()


@pytest.mark.parametrize(
    ("config", "environ", "code", "said"),
    [  # where a place is expected, `--check` says the same
        ("gateway: {host: 0.0.0.0}\n" + ECHO, {}, 78, r"yaml:1:17: gateway\.host: .*TLS"),  # F16
        ("agents: {a: {model: offline/ecco}}\n", {}, 78, r"yaml:1:21: agents\.a\.model: there is no model"),
        (ECHO, {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}, 78, "pure Python"),
        (ECHO, {"STATE_DIRECTORY": "/proc/nowhere"}, 73, "state directory /proc/nowhere"),
        ("gateway: {strict: true}\n" + UNSET, {}, 78, r"yaml:2:\d+: agents\.a\.api_key: .*NO_KEY"),
        ("gateway: {auth_token: '${NO_TOKEN}'}\n" + ECHO, {}, 78, r"yaml:1:\d+: gateway\.auth_token: .*NO_TOKEN"),
    ],
    ids=["F16", "unknown model", "pure Python", "F33", "F05 strict", "F05 door"],
)  # fmt: skip
def test_what_refuses_a_start_has_a_code_and_a_place(
    tmp_path: Path, config: str, environ: dict[str, str], code: int, said: str
) -> None:
    """One sentence each, no traceback; `--check` says the same of what it can see."""
    write(tmp_path, config)

    done = ran("--port", "0", place=tmp_path, environ=environ)

    assert done.returncode == code, done.stderr
    assert re.search(said, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    if "yaml:" in said:
        check = ran("--check", place=tmp_path, environ=environ)
        assert check.returncode == code
        assert re.search(said, check.stdout)


def test_F15_a_port_in_use_is_69_and_names_the_address(tmp_path: Path) -> None:
    """Also for a privileged one, and for an address that this machine does not have."""
    write(tmp_path, ECHO)
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        port = door.getsockname()[1]
        done = ran("--port", str(port), place=tmp_path)
    assert done.returncode == 69
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
    assert not (tmp_path / "run" / "gatewayd.sock").exists()


def test_a_question_is_answered_without_a_daemon(tmp_path: Path) -> None:
    """--version, --check, --explain-route; the configuration is found where P1.2 says, in that order."""
    assert re.fullmatch(r"gatewayd \d+\.\d+\S*\n", ran("--version", place=tmp_path).stdout)
    nothing = ran("--check", place=tmp_path)
    assert nothing.returncode == 78
    for place in ("gateway.yaml", ".config/gatewayd/gateway.yaml", "/etc/gatewayd/gateway.yaml"):
        assert place in nothing.stdout + nothing.stderr
    channels = "channels: {sim: {routing: {group: AGENT}}}\n"
    for agent, name, environ in (
        ("xdg", "xdg/gatewayd/gateway.yaml", {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}),
        ("cwd", "gateway.yaml", {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}),
        ("env", "env.yaml", {"GATEWAYD_CONFIG": str(tmp_path / "env.yaml")}),
    ):
        write(tmp_path, f"agents: {{{agent}: {{model: offline/echo}}}}\n{channels.replace('AGENT', agent)}", name)
        done = ran("--explain-route", "sim", "channel", "ann", place=tmp_path, environ=environ)
        assert done.returncode == 0
        assert done.stdout.startswith(f"agent {agent} by channels.sim.routing.group")
    flag = write(tmp_path, "agents: {flag: {model: offline/echo}}\n", "flag.yaml")
    found = ran("--config", str(flag), "--check", "--json", place=tmp_path, environ=environ)
    assert list(json.loads(found.stdout)["agents"]) == ["flag"]


async def test_agents_without_a_configuration_file(tmp_path: Path) -> None:
    """`--agents FILE` is enough: the rest is default (P1.2)."""
    agents = write(tmp_path, "agents: {only: {model: offline/echo}}\n", "agents.yaml")
    (tmp_path / "d").mkdir()
    daemon = Daemon(tmp_path / "d", "")
    daemon.config.unlink()
    process = await asyncio.create_subprocess_exec(
        str(BIN / "gatewayd"), "--agents", str(agents), "--port", "0",
        cwd=tmp_path / "d", env={**daemon.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "none")},
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with Client(daemon.address, client_id="c", connect_timeout=60) as client:
            assert (await client.send("only", "here")).content == "here"
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 0


async def test_F05_an_unset_variable_degrades_its_part_and_everybody_sees_it(tmp_path: Path) -> None:
    """The agent and the channel are there, unavailable, with the reason; the rest serves."""
    config = (
        "agents: {a: {model: offline/echo}, b: {model: offline/echo, api_key: '${MISSING_KEY}'}}\n"
        "channels: {sim: {token: '${MISSING_TOKEN}', routing: {dm: a}}}\n"
    )
    async with Daemon(tmp_path, config) as daemon, daemon.client() as client:
        code, out, _ = await daemon.ctl("status")
        assert code == 0
        assert re.search(r"state\s+degraded", out)
        assert re.search(r"degraded: agent b: .*MISSING_KEY.*gateway.yaml:1", out)
        assert re.search(r"degraded: channel sim is failed: .*MISSING_TOKEN.*gateway.yaml:2", out)
        _, out, _ = await daemon.ctl("agents")
        assert "MISSING_KEY" in out
        assert (await client.send("a", "fine")).content == "fine"
        with pytest.raises(GatewayError, match="MISSING_KEY"):
            await client.send("b", "hello")


# The store


def test_F35_a_damaged_store_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """The exit code says that somebody has to look, the sentence what to do; nothing is overwritten."""
    write(tmp_path, ECHO)
    process = subprocess.Popen(
        [str(BIN / "gatewayd"), "--port", "0"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "STATE_DIRECTORY": str(tmp_path / "state"),
             "RUNTIME_DIRECTORY": str(tmp_path / "run")},
    )  # fmt: skip
    assert process.stderr is not None
    assert any("INFO ready" in line for line in process.stderr)
    process.terminate()
    process.communicate(timeout=20)
    database = tmp_path / "state" / "gatewayd.db"
    damaged = bytearray(database.read_bytes())
    damaged[4096:8192] = os.urandom(4096)
    database.write_bytes(damaged)

    done = ran("--port", "0", place=tmp_path)

    assert done.returncode == 73
    assert str(database) in done.stderr
    assert re.search("restore|backup", done.stderr)
    assert "Traceback" not in done.stderr
    kept = [path.read_bytes() for path in database.parent.iterdir() if path.name.startswith("gatewayd.db")]
    assert bytes(damaged) in kept


async def test_F33_a_store_that_vanishes_while_it_runs_ends_the_daemon_with_75(tmp_path: Path) -> None:
    """Nothing is acknowledged any more, probes see NOT_SERVING, and the supervisor starts it anew."""
    async with Daemon(tmp_path, ECHO) as daemon, daemon.client() as client:
        async with grpc.aio.insecure_channel(daemon.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            database = daemon.state / "gatewayd.db"
            shutil.copy(database, tmp_path / "copy")
            (tmp_path / "copy").replace(database)

            publishing = asyncio.create_task(client.publish(new_event("message", {"content": "lost?"}, stream_id="s")))

            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert await daemon.ended() == 75
            publishing.cancel()
            with pytest.raises((GatewayError, asyncio.CancelledError)):
                await publishing
            watch.cancel()
    assert "replaced while it was in use" in daemon.log.read_text()


# The process


async def test_detached_with_a_pidfile(tmp_path: Path) -> None:
    """`--daemon --pidfile`: the command returns once the real gateway serves; SIGTERM ends it and removes the file."""
    daemon = Daemon(tmp_path, ECHO)
    pidfile = tmp_path / "gatewayd.pid"
    environ = {key: value for key, value in daemon.environ.items() if "SYSTEMD" not in key and key != "INVOCATION_ID"}
    process = await asyncio.create_subprocess_exec(
        str(BIN / "gatewayd"), "--config", str(daemon.config), "--port", "0", "--daemon", "--pidfile", str(pidfile),
        env=environ, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await asyncio.wait_for(process.wait(), 60) == 0
    pid = int(pidfile.read_text())
    try:
        async with daemon.client() as client:
            assert (await client.status(daemon_only=True)).pid == pid
            assert (await client.send("a", "from afar")).content == "from afar"
    finally:
        os.kill(pid, signal.SIGTERM)
    async with asyncio.timeout(60):
        while pidfile.exists():
            await asyncio.sleep(0.02)


async def test_the_watchdog_is_fed_and_a_dump_holds_no_text(tmp_path: Path) -> None:
    """WATCHDOG comes from the loop; SIGUSR1 shows tasks and queues, but nothing that anybody said."""
    daemon = Daemon(tmp_path, "agents: {a: {model: offline/slow}}\n")
    daemon.environ["WATCHDOG_USEC"] = "1000000"
    async with daemon, daemon.client() as client:
        answer = client.stream("a", "700ms confidential words spoken")
        await anext(answer)
        daemon.signal(signal.SIGUSR1)
        await daemon.noticed("WATCHDOG=1")
        log = await logged(daemon, "thread ")
        assert "executions: {'running': 1}" in log
        assert "tasks: " in log
        assert "execution " in log
        await answer.wait()
    assert "confidential" not in daemon.log.read_text()


CANARIES = {
    name: f"canary-{name}-7f3a9c"
    for name in ("gateway", "provider", "agent", "channel", "script")
}  # fmt: skip


async def test_secrets_appear_nowhere(tmp_path: Path) -> None:
    """Not in the log, the status, the configuration as shown, events, dumps, gatewayctl's answers, the store (G15)."""
    config = f"""
gateway: {{auth_token: "{CANARIES["gateway"]}-{"x" * 40}", logging: {{level: debug}}}}
provider: {{api_key: {CANARIES["provider"]}}}
agents: {{a: {{model: offline/echo, api_key: '${{AGENT_KEY}}'}}}}
channels: {{sim: {{token: 'file:{tmp_path}/secret', routing: {{dm: a}}}}}}
"""
    write(tmp_path, CANARIES["channel"], "secret")
    daemon = Daemon(tmp_path, config)
    daemon.environ["AGENT_KEY"] = CANARIES["agent"]
    outputs: list[str] = []
    async with daemon, daemon.client() as client:
        await client.send("a", "hello")
        daemon.write(config.replace("offline/echo", "offline/ecco").replace(CANARIES["provider"], CANARIES["script"]))
        outputs += (await daemon.ctl("reload", "--wait"))[1:]
        daemon.write(config.replace(f"'file:{tmp_path}/secret'", "bad"))
        outputs += (await daemon.ctl("reload", "--wait"))[1:]
        daemon.signal(signal.SIGUSR1)
        await logged(daemon, "thread ")
        for words in (
            ["status", "-o", "json"],
            ["channels", "-o", "json"],
            ["agents", "-o", "json"],
            ["config", "show", "--config", str(daemon.config)],
            ["config", "show", "--config", str(daemon.config), "-o", "json"],
            ["config", "check", str(daemon.config), "-o", "json"],
            ["events", "--since", "start"],
            ["reload", "--plan", "-o", "json"],
        ):
            outputs += (await daemon.ctl(*words))[1:]
    outputs.append(daemon.log.read_text())
    outputs += ["\n".join(daemon.notices), "\n".join(rows(daemon.state / "gatewayd.db"))]
    everything = "\n".join(outputs)
    assert "execution_completed" in everything, "the outputs are empty"
    for name, canary in CANARIES.items():
        assert canary not in everything, (
            f"the secret {name} is in: {[text[:200] for text in outputs if canary in text]}"
        )


def rows(database: Path) -> list[str]:
    """Every value of every table."""
    with sqlite3.connect(database) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = [repr(row) for table in tables for row in connection.execute(f"SELECT * FROM {table}")]
    connection.close()
    return found


async def test_a_client_without_a_daemon_is_told_so(tmp_path: Path) -> None:
    """gatewayctl exits 3 where nobody answers, and the SDK says Unavailable."""
    daemon = Daemon(tmp_path, ECHO)
    code, _, err = await daemon.ctl("status")
    assert code == 3, err
    with pytest.raises(Unavailable):
        async with Client(daemon.address, client_id="c", connect_timeout=0):
            pass
