"""One daemon for an example: directories of its own, free ports, and a clear word when it does not start.

    async with Running(place, config, environ={"DESK_SECRET": secret}) as daemon:
        async with daemon.client() as client: ...

It is the `gatewayd` that is installed beside this Python, and finds the agents in this folder.
"""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from pathlib import Path

from gatewayctl.client import Client

BIN = Path(sys.executable).parent
EXAMPLES = Path(__file__).parent
DEADLINE = 60.0
"""Seconds that it may take to start, to stop, or to answer gatewayctl."""
_HTTP = re.compile(r" http=\S*:(\d+)")


class Failed(Exception):
    """The example did not do what it should; the text says what, for people."""


class Running:
    """A daemon that can be killed and started again on the same directories."""

    def __init__(self, place: Path, config: Path, environ: Mapping[str, str] | None = None) -> None:
        self.place = place
        self.config = config
        self.log = place / "log"
        path = os.pathsep.join(each for each in (str(EXAMPLES), os.environ.get("PYTHONPATH", "")) if each)
        self.environ = {
            **{name: each for name, each in os.environ.items() if not name.startswith(("GATEWAYD_", "GATEWAYCTL_"))},
            "PYTHONPATH": path,
            "STATE_DIRECTORY": str(place / "state"),
            "RUNTIME_DIRECTORY": str(place / "run"),
            "GATEWAYD_ADDRESS": f"unix:{place}/run/gatewayd.sock",
            **(environ or {}),
        }
        self._process: Process | None = None
        self._since = 0
        """Where the log of this life begins."""

    async def __aenter__(self) -> "Running":
        try:
            await self.start()
        except BaseException:
            await self.kill()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.stop()
        else:
            await self.kill()

    async def start(self) -> None:
        """Returns once it says that it is ready. `Failed` with its log when it ends instead."""
        self._since = self.log.stat().st_size if self.log.exists() else 0
        command = [str(BIN / "gatewayd"), "--config", str(self.config), "--port", "0"]
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, env=self.environ, stdin=DEVNULL, stdout=log, stderr=log
            )
        try:
            async with asyncio.timeout(DEADLINE):
                while " INFO ready " not in self.said:
                    if self._process.returncode is not None:
                        raise Failed(f"gatewayd ended with exit code {self._process.returncode}:\n{self.said}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Failed(f"gatewayd was not ready after {DEADLINE:g} s:\n{self.said}") from None

    @property
    def said(self) -> str:
        """Its log since the last start."""
        return self.log.read_bytes()[self._since :].decode(errors="replace")

    @property
    def http_port(self) -> int:
        """Where it takes webhooks, on 127.0.0.1."""
        return int(_HTTP.findall(self.said)[-1])

    def client(self, client_id: str = "") -> Client:
        """The SDK, through the unix socket."""
        return Client(self.environ["GATEWAYD_ADDRESS"], client_id=client_id or None)

    async def kill(self) -> None:
        """`kill -9`, as the kernel does it when memory is short."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end. `Failed` with its log when it does not end with 0."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(self._process.wait(), DEADLINE)
        except TimeoutError:
            await self.kill()
            raise Failed(f"gatewayd did not stop in {DEADLINE:g} s:\n{self.said}") from None
        if code:
            raise Failed(f"gatewayd stopped with exit code {code}:\n{self.said}")

    async def ctl(self, *arguments: str) -> str:
        """What one gatewayctl command prints. `Failed` with what it complains."""
        process = await asyncio.create_subprocess_exec(
            str(BIN / "gatewayctl"), *arguments, env=self.environ, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        try:
            async with asyncio.timeout(DEADLINE):
                printed, complained = await process.communicate()
        except BaseException as error:
            if process.returncode is None:
                process.kill()
                await process.wait()
            if isinstance(error, TimeoutError):
                raise Failed(f"gatewayctl {arguments[0]} took longer than {DEADLINE:g} s") from None
            raise
        if process.returncode:
            raise Failed(f"gatewayctl {' '.join(arguments)} ended with {process.returncode}:\n{complained.decode()}")
        return printed.decode()
