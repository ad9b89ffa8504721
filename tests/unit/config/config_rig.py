"""Loads a configuration as the daemon would, with stand-ins for the adapters, the disk and the environment."""

import errno
import gc
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatewayd.config.loader import Loaded, load
from gatewayd.config.problems import ConfigRefused
from gatewayd.config.section import Section, setting
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.secret import Secret

ENVIRON = {"TEXT": "some text", "PORT": "4321", "EMPTY": "", "TOKEN": "tok-from-environment", "LONG": "x" * 4096}
FILES = {
    "secret": b"tok-from-file\n",
    "key": b"another-key\n",
    "open": b"tok-open\n",
    "empty": b"",
    "binary": b"\xff\xfe",
    "lines": b"a\nb\n",
}
ROOT = Path(__file__).parents[2]


class Line(Section):
    """As an adapter may write it: plain kinds, no descriptions, a key that is a word of Python."""

    sender: str = setting(key="from")
    text: str
    after: float = 0.0


class Faults(Section):
    conflict: int = 0
    slow: float = 0.0


class SimSettings(Section):
    token: Secret | None = None
    app_token: Secret | None = None
    server: str = ""
    script: list[Line] = setting(default=[])
    faults: Faults = Faults()
    idempotent_send: bool = False


class NeedySettings(Section):
    """A platform that cannot do without its token."""

    token: Secret


class LocalSettings(Section):
    pass


SETTINGS: Mapping[str, type[Section]] = {"sim": SimSettings, "needy": NeedySettings, "local": LocalSettings}


def read_file(path: Path, limit: int) -> bytes:
    if path.name not in FILES:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return FILES[path.name][:limit]


def stat_file(path: Path) -> os.stat_result:
    mode = stat.S_IFREG | (0o644 if path.name == "open" else 0o600)
    return os.stat_result((mode, 0, 0, 1, 0, 0, 1, 0, 0, 0))


def check_scope(scope: str) -> None:
    if scope.partition(":")[0] not in ("agents.send", "sessions", "admin.read", "events.subscribe"):
        raise InvalidArgument(f"unknown scope {scope!r}")


def loaded(text: str | bytes, **changes: Any) -> Loaded:
    arguments: dict[str, Any] = {
        "name": "gateway.yaml",
        "settings_for": SETTINGS.get,
        "environ": ENVIRON,
        "read_file": read_file,
        "stat_file": stat_file,
        "credentials_dir": Path("/run/credentials"),
        "known_tools": frozenset({"current_time", "remember"}),
        "known_platforms": frozenset(SETTINGS),
        "check_scope": check_scope,
    }
    return load(text if isinstance(text, bytes) else text.encode(), **(arguments | changes))


def lines(text: str | bytes, **changes: Any) -> list[str]:
    """What `--check` prints for a configuration with problems; empty for one without."""
    try:
        loaded(text, **changes)
    except ConfigRefused as refused:
        return refused.lines()
    return []


@contextmanager
def quick() -> Iterator[None]:
    """The block takes at most the promised 200 ms of processor time on a machine as it should be (`in_time`).

    What other tests left in this process is kept from the collector: going through it is no cost of the block's.
    """
    gc.collect()
    gc.freeze()
    began = time.process_time()
    try:
        yield
        in_time(time.process_time() - began)
    finally:
        gc.unfreeze()


def in_time(taken: float) -> None:
    """The promise is 200 ms on a machine that counts to a million in 60 ms; on a slower or busier one, as much more."""
    if taken < 0.2:
        return
    began = time.process_time()
    total = 0
    for number in range(1_000_000):
        total += number
    counted = time.process_time() - began
    assert taken < 0.2 * max(1.0, counted / 0.06) * 1.5, f"{taken:.3f} s, and to count to a million {counted:.3f} s"
