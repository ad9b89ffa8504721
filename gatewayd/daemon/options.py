"""What a daemon is started with, and the protocol between the process and the gateway inside it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Protocol

from gatewayd.core.clock import Clock, Randomness
from gatewayd.core.disk import Disk
from gatewayd.core.failpoints import NO_FAILPOINTS, Failpoints
from gatewayd.core.value import value
from gatewayd.daemon.logs import Logs
from gatewayd.daemon.mask import Mask
from gatewayd.daemon.notify import Notifier
from gatewayd.daemon.paths import Paths
from gatewayd.service import Deadline


@value(frozen=True, slots=True)
class Options:
    """The command line and the environment, as values; every path is absolute."""

    paths: Paths
    config: Path | None = None
    """gateway.yaml; None when there is none and `agents` gives the agents."""
    config_name: str = ""
    """How it was named, for messages; '' shows the path."""
    host: str | None = None
    """Overrides `gateway.host` for this run, reloads included; None takes the file's."""
    port: int | None = None
    """Overrides `gateway.port`."""
    agents: Path | None = None
    """A file with an `agents:` mapping that is merged in."""
    detach: bool = False
    pidfile: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    """The environment as it was at the start."""


@value(frozen=True, slots=True)
class Parts:
    """What the process made for the gateway: the machine's side of the daemon."""

    clock: Clock
    randomness: Randomness
    disk: Disk
    notify: Notifier
    logs: Logs
    mask: Mask
    failpoints: Failpoints = NO_FAILPOINTS


class RunningGateway(Protocol):
    """The gateway as its process sees it."""

    @property
    def drain_timeout(self) -> float:
        """Seconds that a stop may take, as the running configuration says; a default before there is one."""
        ...

    async def start(self) -> None:
        """Become ready. What it raises becomes the exit code (`exit_code` in `process.py`)."""
        ...

    async def drain_and_stop(self, deadline: Deadline) -> None:
        """Finish what was taken and release everything by then. Also after a failed or cancelled start."""
        ...

    async def reload(self) -> None:
        """Read the configuration again; never raises, tells the outcome itself (to systemd too).

        A stop cancels one that is under way.
        """
        ...

    def wait_failed(self) -> Awaitable[object]:
        """Resolves when the gateway cannot keep its promises any more (the store failed)."""
        ...

    def dump(self) -> Mapping[str, Any]:
        """Queues and counts, for the log; no message texts, no secrets."""
        ...

    def status_line(self) -> str:
        """One line for people: channels up, sessions, last reload."""
        ...


GatewayFactory = Callable[[Options, Parts], RunningGateway]
