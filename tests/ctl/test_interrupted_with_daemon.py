"""Ctrl-C while a command waits for an answer: the execution goes on, and the command says so."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatewayctl.asked import interrupted
from gatewayctl.failures import Failure
from tests.ctl.command import Process, run
from tests.rigs.process import Daemon

pytestmark = pytest.mark.usefixtures("quiet_environment")

CONFIG = """
gateway: {reconnect_timeout: 10m}
agents: {far: {remote: true, timeout: 10m}}
entry_points: {far: {agent: far}}
"""
"""Nobody answers for the agent, so what waits for it does so for long."""


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path, CONFIG) as daemon:
        yield daemon


async def _running(daemon: Daemon) -> str:
    async with asyncio.timeout(60):
        while True:
            listed = json.loads((await run(daemon, "-o", "json", "executions", "--state", "running")).out)
            if listed:
                return str(listed[0]["id"])


@pytest.mark.parametrize(
    "words",
    [
        ("send", "far", "hi"),
        ("send", "far", "hi", "--stream"),
        ("-o", "json", "send", "far", "hi", "--idempotency-key", "k"),
        ("trigger", "far", "--wait"),
    ],
    ids=["send", "stream", "json", "trigger"],
)
async def test_ctrl_c_says_what_goes_on_and_how_to_end_it(daemon: Daemon, words: tuple[str, ...]) -> None:
    command = await Process.start("--address", daemon.address, *words)
    execution = await _running(daemon)
    command.process.send_signal(signal.SIGINT)
    done = await command.end()

    assert (done.code, done.out.strip()) == (130, "")
    told = [line for line in done.err.splitlines() if "interrupted" in line]
    assert told == done.err.splitlines()[-1:]
    assert "it goes on" in told[0]
    assert f"gatewayctl executions show {execution}" in told[0]
    assert f"executions cancel {execution}" in told[0]
    assert await _running(daemon) == execution
    assert len(json.loads((await run(daemon, "-o", "json", "executions")).out)) == 1
    assert (await run(daemon, "executions", "cancel", execution)).code == 0


def test_what_has_ended_meanwhile_or_is_not_known_is_told_as_that() -> None:
    def unknown() -> tuple[str, bool]:
        raise Failure("the daemon does not answer")

    assert "executions show x" in interrupted(lambda: ("x", True)).message
    assert "is not known" in interrupted(unknown).message
