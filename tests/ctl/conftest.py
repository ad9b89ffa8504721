"""A fake gateway on a socket of its own for each test."""

import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.ctl.asking import CONFIG, Sits, terminals
from tests.ctl.command import STARTED
from tests.ctl.fake_gateway import FakeGateway
from tests.rigs.process import Daemon


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """What a script starts in its background ignores interrupts, and the commands started here would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[FakeGateway]:
    fake = FakeGateway()
    await fake.start(f"unix:{tmp_path}/gw.sock")
    yield fake
    await fake.stop()


@pytest.fixture
def topic(gateway: FakeGateway) -> str:
    """A topic that is there, without members."""
    gateway.push.members["orders"] = {}
    return "orders"


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """A command whose test has failed follows nobody any more."""
    yield
    for process in STARTED:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
    STARTED.clear()


@pytest.fixture
def quiet_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No daemon, token or configuration of the machine leaks into a test."""
    for name in ("GATEWAYD_ADDRESS", "GATEWAYD_TOKEN", "GATEWAYD_CONFIG", "RUNTIME_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture
async def asking_daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """One whose agents ask for something."""
    async with Daemon(tmp_path, CONFIG) as daemon:
        yield daemon


@pytest.fixture
async def sits(asking_daemon: Daemon) -> AsyncIterator[Sits]:
    async with terminals(asking_daemon) as sits:
        yield sits
