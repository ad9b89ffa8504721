"""A whole gateway in the test's own loop: real sockets, real SQLite, real time; only the process around it is missing.

For what cannot be seen from outside: which object an adapter is, what is left behind, whose turn it is.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewayctl.client import Client
from gatewayd.core.clock import SystemClock, SystemRandomness
from gatewayd.core.disk import SystemDisk
from gatewayd.daemon.assembly import Assembly
from gatewayd.daemon.gateway import Gateway
from gatewayd.daemon.logs import Logs
from gatewayd.daemon.mask import Mask
from gatewayd.daemon.notify import Notifier
from gatewayd.daemon.options import Options, Parts
from gatewayd.daemon.paths import Paths, prepare
from gatewayd.service import Deadline


class InProcess:
    """`async with InProcess(tmp_path, CONFIG) as gateway:`; at the end no task of the gateway may be left."""

    def __init__(
        self, place: Path, config: str, *, environ: Mapping[str, str] | None = None, port: int | None = 0
    ) -> None:
        self.config = place / "gateway.yaml"
        self.paths = Paths(place / "state", place / "run")
        self.clock = SystemClock()
        self._environ = dict(environ or {})
        self._port = port
        self._levels: dict[str, int] = {}
        self._before: set[asyncio.Task[Any]] = set()
        self.write(config)

    def write(self, config: str) -> None:
        """Replace gateway.yaml."""
        self.config.write_text(config)
        self.config.chmod(0o600)

    async def reload(self, config: str) -> None:
        """Replace gateway.yaml and have it read."""
        self.write(config)
        await self.house.reloader.reload()

    async def start(self) -> None:
        """Make a gateway and start it; also again after `stop`."""
        self._before = asyncio.all_tasks()
        self._levels = {name: logging.getLogger(name).level for name in ("", "gatewayd")}
        prepare(self.paths)
        mask = Mask()
        self._log = os.open(self.config.with_name("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._logs = Logs(mask, self.clock, self._environ, descriptor=self._log)
        notify = Notifier(self._environ, self.clock)
        parts = Parts(self.clock, SystemRandomness(), SystemDisk(), notify, self._logs, mask)
        self.gateway = Gateway(Options(self.paths, self.config, port=self._port, environ=self._environ), parts)
        await self.gateway.start()

    async def stop(self, seconds: float = 5.0) -> None:
        """As SIGTERM does it; AssertionError when something is left running."""
        await self.gateway.drain_and_stop(Deadline(self.clock, seconds))
        self._logs.close()
        os.close(self._log)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        ours = [task for task in asyncio.all_tasks() - self._before if "gatewayd" in repr(task.get_coro())]
        if ours:
            await asyncio.wait(ours, timeout=10.0)
        left = [task for task in ours if not task.done()]
        assert not left, f"tasks that were left running: {left}"

    async def __aenter__(self) -> "InProcess":
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        await self.stop(5.0 if kind is None else 0.0)

    @property
    def house(self) -> Assembly:
        """All its parts."""
        assert self.gateway._house is not None, "it was not started"
        return self.gateway._house

    def adapter(self, channel: str) -> Any:
        """The connection of a channel, as an object."""
        return self.house.channels.get(channel).adapter

    def client(self, client_id: str) -> Client:
        """The SDK over the unix socket."""
        return Client(address=f"unix:{self.paths.socket}", client_id=client_id, connect_timeout=60, timeout=60)
