"""A real daemon as a child process: its own directories, a fake service manager, real signals.

A story says `async with Daemon(tmp_path, CONFIG) as daemon:` and talks to it through the SDK, `gatewayctl` or a
simulated chat network.
"""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from pathlib import Path

from gatewayctl.client import Client

BIN = Path(sys.executable).parent
DEADLINE = 60.0
"""Seconds that a daemon may take to become ready or to end; generous, because machines are shared."""


class Daemon:
    """One daemon and its directories; start it again after a crash with `start`."""

    def __init__(self, place: Path, config: str, *, arguments: Sequence[str] = (), port: int = 0) -> None:
        self.place = place
        self.config = place / "gateway.yaml"
        self.state = place / "state"
        self.runtime = place / "run"
        self.log = place / "log"
        self._arguments = [*arguments, "--port", str(port)]
        self._process: Process | None = None
        self._notify: socket.socket | None = None
        self.notices: list[str] = []
        """What the daemon told its service manager, in order."""
        self.environ = {
            **os.environ,
            "STATE_DIRECTORY": str(self.state),
            "RUNTIME_DIRECTORY": str(self.runtime),
            "GATEWAYD_ADDRESS": self.address,
        }
        self.environ.pop("GATEWAYD_TOKEN", None)
        self.write(config)

    @property
    def address(self) -> str:
        return f"unix:{self.runtime}/gatewayd.sock"

    @property
    def token(self) -> str:
        """The token that the daemon made at its first start."""
        return (self.state / "token").read_text().strip()

    def write(self, config: str) -> None:
        """Replace gateway.yaml; the daemon hears of it with `reload`."""
        self.config.write_text(config)
        self.config.chmod(0o600)

    async def __aenter__(self) -> "Daemon":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, *, command: Sequence[str] = ()) -> None:
        """Run it until it says READY; AssertionError with its log when it ends instead."""
        if self._notify is not None:
            self._notify.close()
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        path = self.place / "notify.sock"
        path.unlink(missing_ok=True)
        self._notify.bind(str(path))
        self.notices.clear()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(command or [str(BIN / "gatewayd")]),
                "--config",
                str(self.config),
                *self._arguments,
                env={**self.environ, "NOTIFY_SOCKET": str(path)},
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            await self.noticed("READY=1")
        except BaseException:
            # Whoever started it does not get to the point at which it would be stopped.
            if self.process.returncode is None:
                self.process.kill()
                await self.process.wait()
            raise

    async def noticed(self, what: str, *, timeout: float = DEADLINE) -> str:
        """Wait until the daemon tells its service manager that; the whole message."""
        assert self._notify is not None
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout):
            while True:
                for notice in self.notices:
                    if what in notice:
                        return notice
                receive = asyncio.create_task(loop.sock_recv(self._notify, 4096))
                ended = asyncio.create_task(self.process.wait())
                try:
                    await asyncio.wait((receive, ended), return_when=asyncio.FIRST_COMPLETED)
                    if receive.done():
                        self.notices.append(receive.result().decode())
                        continue
                finally:
                    receive.cancel()
                    ended.cancel()
                raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log.read_text()}")

    @property
    def process(self) -> Process:
        assert self._process is not None, "the daemon was not started"
        return self._process

    @property
    def port(self) -> int:
        """The TCP port that it listens on, from its log."""
        lines = [line for line in self.log.read_text().splitlines() if "listening" in line and "tcp" in line]
        return int(lines[-1].partition("tcp=")[2].split()[0].strip('"').rpartition(":")[2])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, *, timeout: float = DEADLINE) -> int:
        """Its exit code, once it has ended."""
        async with asyncio.timeout(timeout):
            return await self.process.wait()

    async def kill(self) -> None:
        """As the kernel does it when memory is short."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> int:
        """Ask it to end, and see to it that it does."""
        if self._process is None:
            return 0
        if self.process.returncode is None:
            self.signal(signal.SIGTERM)
            try:
                await self.ended()
            except TimeoutError:
                self.signal(signal.SIGKILL)
                await self.process.wait()
                raise AssertionError(f"the daemon did not end:\n{self.log.read_text()}") from None
        if self._notify is not None:
            self._notify.close()
        return self.process.returncode or 0

    def client(self, client_id: str = "", **more: object) -> Client:
        """The SDK, connected through the unix socket as the principal `local`."""
        patience = {"connect_timeout": DEADLINE, "timeout": DEADLINE}
        return Client(address=self.address, client_id=client_id or "test", **{**patience, **more})  # type: ignore[arg-type]

    async def ctl(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """Run gatewayctl by hand: exit code, what it printed, what it complained."""
        process = await asyncio.create_subprocess_exec(
            str(BIN / "gatewayctl"),
            *arguments,
            env=self.environ,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(DEADLINE):
            out, err = await process.communicate(stdin.encode())
        return process.returncode or 0, out.decode(), err.decode()
