"""`gatewayctl state` against the real daemon."""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.ctl.command import Process, run
from tests.rigs.process import Daemon

pytestmark = pytest.mark.usefixtures("quiet_environment")


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path, "agents:\n  assistant: {model: offline/echo}\n") as daemon:
        yield daemon


async def test_a_key_is_written_read_and_deleted(daemon: Daemon) -> None:
    done = await run(daemon, "state", "set", "orders.open", '{"n": 3}', "-o", "json")
    entry = json.loads(done.out)
    assert (done.code, entry["value"], entry["scope"]) == (0, {"n": 3}, "global")
    done = await run(daemon, "state", "get", "orders.open")
    assert (done.code, done.err) == (0, "")
    assert '{"n": 3}' in done.out
    done = await run(daemon, "state", "set", "orders.open", "4", "--expect", str(entry["version"] - 1))
    assert done.code == 1
    assert f"is at version {entry['version']}" in done.err
    assert (await run(daemon, "state", "set", "k", "1", "--stream", "assistant", "--ttl", "100")).code == 0
    listed = json.loads((await run(daemon, "state", "--pattern", "orders.*", "-o", "json")).out)
    assert [one["key"] for one in listed] == ["orders.open"]
    streams = json.loads((await run(daemon, "state", "list", "--stream", "assistant", "-o", "json")).out)
    assert [(one["key"], bool(one["expire_time"])) for one in streams] == [("k", True)]
    assert "orders.open" in (await run(daemon, "state", "delete", "orders.open")).out
    assert "was not there" in (await run(daemon, "state", "delete", "orders.open")).out
    done = await run(daemon, "state", "get", "orders.open")
    assert (done.code, "there is no key" in done.err) == (4, True)


async def test_wrong_words_are_told_before_the_daemon_is_asked(daemon: Daemon) -> None:
    wrong = [("set", "k", "text"), ("get", "k", "--seen-by", "x", "--stream", "y")]
    wrong += [("set", "k", "1", f"--ttl={ttl}") for ttl in ("nan", "inf", "1e300", "-0.5", "0")]
    for words in wrong:
        done = await run(daemon, "state", *words)
        assert done.code == 2, done


async def test_watch_prints_what_is_there_and_then_the_changes(daemon: Daemon) -> None:
    async with daemon.client() as client:
        await client.state.set("a", [1])
        watching = await Process.start("--address", daemon.address, "state", "watch", "-o", "json")
        assert json.loads(await watching.line())["value"] == [1]
        await client.state.set("b", "two")
        await client.state.delete("a")
        assert json.loads(await watching.line())["key"] == "b"
        gone = json.loads(await watching.line())
        assert (gone["key"], gone["deleted"]) == ("a", True)
        watching.process.send_signal(signal.SIGINT)
        assert (await watching.end()).code == 0
