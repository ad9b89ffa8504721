"""Who holds a TCP port, as far as this user may know: for the sentence that refuses a start."""

from pathlib import Path

from gatewayd.core.disk import Disk

_LISTENING = "0A"
"""TCP_LISTEN in /proc/net/tcp (proc_net_tcp(5))."""
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_TABLE_LIMIT = 16 << 20


def port_holder(port: int, disk: Disk) -> str:
    """`pid 4711 (nginx)`, or '' when nobody listens there or the process is not ours to see."""
    inodes = {inode for table in _TABLES for inode in _listeners(Path(table), port, disk)}
    if not inodes:
        return ""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _holds(process / "fd", inodes):
            try:
                name = disk.read(process / "comm", 64).decode(errors="replace").strip()
            except OSError:
                name = "?"
            return f"pid {process.name} ({name})"
    return ""


def _listeners(table: Path, port: int, disk: Disk) -> set[str]:
    """Inodes of the sockets that listen on the port."""
    try:
        lines = disk.read(table, _TABLE_LIMIT).decode(errors="replace").splitlines()[1:]
    except OSError:
        return set()
    fields = [line.split() for line in lines]
    return {row[9] for row in fields if len(row) > 9 and row[3] == _LISTENING and row[1].endswith(f":{port:04X}")}


def _holds(descriptors: Path, inodes: set[str]) -> bool:
    try:
        return any(str(one.readlink()).removeprefix("socket:[").rstrip("]") in inodes for one in descriptors.iterdir())
    except OSError:
        return False
