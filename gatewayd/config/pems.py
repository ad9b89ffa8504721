"""Keys of the file that name a file in PEM: it is read with the configuration, so its content is a part of it."""

import stat
from pathlib import Path
from typing import Final

from gatewayd.config.problems import printable
from gatewayd.config.scalars import Unreadable, expand
from gatewayd.config.sources import Missing, SecretSource, unset
from gatewayd.core.pem import Pem
from gatewayd.core.secret import Secret

MAX_PEM: Final = 1024 * 1024
"""Largest file in PEM, in bytes."""
_KEY: Final = "PRIVATE KEY"


def find_pem(source: SecretSource, written: str) -> tuple[Pem, str, str]:
    """The content, why it is not well kept and what to do about it; the latter two are mostly empty.

    Raises `Missing` when it cannot be read, and `Unreadable` for what is no path or no PEM.
    """
    expanded = expand(written, source.environ)
    if expanded.unset:
        raise unset(expanded.unset, secret=True)
    path = _path(source, expanded.text)
    shown = printable(str(path), 200)
    try:
        # What is not ASCII is a remark between the blocks, such as the name of an authority.
        text = source.read_file(path, MAX_PEM).decode("ascii", "replace").replace("\ufffd", "?")
        mode = source.stat_file(path).st_mode if source.stat_file is not None else 0
    except OSError as error:
        why = error.strerror or printable(str(error), 200)
        raise Missing(f"{shown} cannot be read: {why}", "check the path, and who may read it") from None
    except ValueError:  # no path that there could be
        text, mode = "", 0
    if "-----BEGIN " not in text:
        raise Unreadable(f"{shown} is not in PEM", "PEM is text between BEGIN and END lines")
    doubt = hint = ""
    if _KEY in text and stat.S_IMODE(mode) & 0o037:
        doubt, hint = f"other users have access to the key in {shown}", f"chmod 640 {shown}"
    return Pem(str(path), Secret(text)), doubt, hint


def _path(source: SecretSource, written: str) -> Path:
    if written.startswith("credential:"):
        name = written.removeprefix("credential:")
        if not name or "/" in name or name in (".", ".."):
            raise Unreadable("credential: needs the name of a credential", "write credential:NAME")
        if source.credentials is None:
            hint = "start the daemon under systemd with LoadCredential=, or give a path"
            raise Missing(f"credential {printable(name)} is not there: $CREDENTIALS_DIRECTORY is not set", hint)
        return source.credentials / name
    path = written.removeprefix("file:")
    if not path or path.startswith("~"):
        raise Unreadable("this needs the path of a file, and '~' is not replaced", "write /absolute/path")
    return source.base / path
