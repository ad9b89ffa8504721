"""Which file is the configuration, and whether it may be trusted. Everything on the disk goes through `core.disk`."""

import errno
import stat
from collections.abc import Callable, Mapping
from os import stat_result
from pathlib import Path

from gatewayd.config.marks import MAX_BYTES
from gatewayd.config.problems import ConfigRefused, Place, printable, problem_at
from gatewayd.core.disk import Disk
from gatewayd.core.value import value

_EXAMPLE = "name one with --config; gateway.quickstart.yaml runs without an account"
_UNREADABLE = {
    errno.ENOENT: ("there is no such file", "check the path given with --config or $GATEWAYD_CONFIG"),
    errno.ENOTDIR: ("a part of the path is not a directory", "check the path"),
    errno.EACCES: ("permission denied", "let the daemon's user read it, and enter every directory above it"),
    errno.EPERM: ("permission denied", "let the daemon's user read it"),
    errno.ELOOP: ("the symbolic links go round in a circle", "replace the link by the file"),
    errno.ENAMETOOLONG: ("the path is too long", "use a shorter path"),
}


@value(frozen=True, slots=True)
class ConfigFile:
    """The text of a configuration file that may be trusted."""

    text: bytes
    name: str
    """As it is shown in problems."""
    folder: Path
    """Where relative paths in it start."""
    world_readable: bool


def find_config(
    explicit: str | None,
    environ: Mapping[str, str],
    cwd: Path,
    exists: Callable[[Path], bool],
    *,
    required: bool = True,
) -> Path | None:
    """The file to read: `--config`, `$GATEWAYD_CONFIG`, or the first that exists of the usual places.

    A path that somebody named is taken as it is. When nothing is found, `ConfigRefused` names the places searched;
    unless the file is not `required`, as with `--agents`.
    """
    for named in (explicit, environ.get("GATEWAYD_CONFIG")):
        if named:
            return cwd / named
    home = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    places = [cwd / "gateway.yaml", Path("/etc/gatewayd/gateway.yaml")]
    if home:
        places.insert(1, Path(home) / "gatewayd" / "gateway.yaml")
    for place in places:
        if exists(place):
            return place
    if not required:
        return None
    what = "no configuration file; searched " + ", ".join(str(place) for place in places)
    raise ConfigRefused([problem_at(Place("gateway.yaml"), (), what, _EXAMPLE)])


def read_config(path: Path, disk: Disk, *, uid: int, name: str = "") -> ConfigFile:
    """The text of the file, or `ConfigRefused`. Opens nothing but a regular file, so that a FIFO cannot hold it up."""
    shown = name or str(path)
    try:
        status = disk.stat(path)
        check_file(status, shown, uid=uid)
        text = disk.read(path, MAX_BYTES)
    except OSError as error:
        what, hint = _UNREADABLE.get(error.errno or 0, (printable(error.strerror or str(error), 200), "check the path"))
        raise _refused(shown, what, hint) from None
    return ConfigFile(text, shown, path.parent, bool(status.st_mode & stat.S_IROTH))


def check_file(status: stat_result, name: str, *, uid: int) -> None:
    """Refuse what is no file, is too large, or could have been written by somebody else."""
    mode = status.st_mode
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "a FIFO" if stat.S_ISFIFO(mode) else "not a regular file"
        raise _refused(name, f"this is {kind}", "give the path of a file")
    if status.st_size > MAX_BYTES:
        raise _refused(name, f"the file has {status.st_size} bytes; at most {MAX_BYTES} are read", "check the path")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        who = "every user" if mode & stat.S_IWOTH else "its group"
        raise _refused(
            name, f"{who} can write it (mode {stat.S_IMODE(mode):04o})", f"chmod go-w {printable(name, 200)}"
        )
    if status.st_uid not in (0, uid):
        what = f"it belongs to user {status.st_uid}, and the daemon runs as user {uid}"
        raise _refused(name, what, f"chown {uid} {printable(name, 200)}, or run the daemon as its owner")


def _refused(name: str, what: str, hint: str) -> ConfigRefused:
    return ConfigRefused([problem_at(Place(name), (), what, hint)])
