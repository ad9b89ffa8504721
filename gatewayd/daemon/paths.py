"""Where things are: the state directory and the runtime directory (gateway.yaml is found by `config.files`).

Resolving looks at the environment only; `prepare` makes the directories and refuses ones that cannot be used.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from gatewayd.core.value import value

STATE_MODE = 0o700
RUNTIME_MODE = 0o750


class PathUnusable(Exception):
    """A path that the daemon needs cannot be used; the message says which and why."""


@value(frozen=True, slots=True)
class Paths:
    """The directories of one daemon, absolute."""

    state: Path
    runtime: Path

    @property
    def socket(self) -> Path:
        """Where the unix socket is unless gateway.yaml says otherwise."""
        return self.runtime / "gatewayd.sock"

    @property
    def log(self) -> Path:
        """Where a detached daemon writes its log when its standard error is not a file."""
        return self.state / "gatewayd.log"


def resolve_paths(environ: Mapping[str, str]) -> Paths:
    """The directories that the environment names. Raises `PathUnusable` when it names no place for the state."""
    # systemd joins several directories with colons; the first is the daemon's own.
    state = _absolute(environ.get("STATE_DIRECTORY", "").partition(":")[0])
    if state is None:
        home = _xdg(environ, "XDG_STATE_HOME", ".local/state")
        if home is None:
            raise PathUnusable("there is no place for the state: set STATE_DIRECTORY, XDG_STATE_HOME or HOME")
        state = home / "gatewayd"
    runtime = _absolute(environ.get("RUNTIME_DIRECTORY", "").partition(":")[0])
    if runtime is None:
        base = _absolute(environ.get("XDG_RUNTIME_DIR", ""))
        # Without a session there is no XDG_RUNTIME_DIR; the state directory is as private and always there.
        runtime = base / "gatewayd" if base is not None else state / "run"
    return Paths(state, runtime)


def prepare(paths: Paths) -> None:
    """Make what is missing and check what is there. Raises `PathUnusable`."""
    _prepare(paths.state, STATE_MODE, "state directory")
    _prepare(paths.runtime, RUNTIME_MODE, "runtime directory")


def _prepare(path: Path, mode: int, what: str) -> None:
    try:
        if not path.exists():
            path.mkdir(mode=mode, parents=True, exist_ok=True)
            path.chmod(mode)  # the umask may have taken away more than is meant
        found = path.stat()
    except FileExistsError:
        raise PathUnusable(f"{what} {path} is not a directory") from None
    except OSError as error:
        raise PathUnusable(f"{what} {path} cannot be made: {error.strerror} ({error.filename})") from error
    if not stat.S_ISDIR(found.st_mode):
        raise PathUnusable(f"{what} {path} is not a directory")
    if found.st_uid != os.geteuid():
        raise PathUnusable(f"{what} {path} belongs to uid {found.st_uid}, but gatewayd runs as uid {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) & ~mode:
        try:
            path.chmod(mode)
        except OSError as error:
            raise PathUnusable(f"{what} {path} is open to others and cannot be closed: {error.strerror}") from error
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        raise PathUnusable(f"{what} {path} is on a file system that is mounted read-only")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        raise PathUnusable(f"{what} {path} is not writable for uid {os.geteuid()}")


def _absolute(text: str) -> Path | None:
    """The path, if it is one that counts: the XDG rules say to ignore relative ones."""
    return Path(text) if text.startswith("/") else None


def _xdg(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    if (named := _absolute(environ.get(variable, ""))) is not None:
        return named
    home = _absolute(environ.get("HOME", ""))
    return home / below_home if home is not None else None
