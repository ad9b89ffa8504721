"""Where secrets come from: `${VAR}`, `file:PATH`, `credential:NAME`; and how a secret in the file itself is told of."""

import stat
from collections.abc import Callable, Mapping
from os import stat_result
from pathlib import Path
from typing import Final

from gatewayd.config.problems import printable
from gatewayd.config.scalars import Unreadable, expand
from gatewayd.core.secret import Secret
from gatewayd.core.value import value

MAX_SECRET: Final = 64 * 1024
"""Largest file that is read as one secret, in bytes."""
SCHEMES: Final = ("file:", "credential:")

ReadFile = Callable[[Path, int], bytes]
StatFile = Callable[[Path], stat_result]


class Missing(Exception):
    """The secret is not there now; the part that needs it cannot run."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


@value(frozen=True, slots=True)
class Found:
    """A secret and what there is to say of it."""

    secret: Secret
    origin: str
    """`environment VAR`, `file /path`, `credential NAME`; '' when it is written in the file itself."""
    doubt: str = ""
    """Why it is not well kept."""
    hint: str = ""


@value(frozen=True, slots=True)
class SecretSource:
    """Looks secrets up with what it was given; it opens nothing by itself."""

    environ: Mapping[str, str]
    read_file: ReadFile
    stat_file: StatFile | None
    credentials: Path | None
    """`$CREDENTIALS_DIRECTORY`."""
    base: Path
    """Folder of the configuration file: relative paths start there."""

    def find(self, written: str) -> Found | None:
        """The secret for what the file says; None when its default says that there is none.

        Raises `Missing` when it is not there now, and `Unreadable` when the text cannot be a secret.
        """
        expanded = expand(written, self.environ)
        if expanded.unset:
            raise unset(expanded.unset, secret=True)
        # Only what is written decides: the value of a variable must not turn into a path.
        if written.startswith("file:"):
            return self._file(expanded.text.removeprefix("file:"))
        if written.startswith("credential:"):
            return self._credential(expanded.text.removeprefix("credential:"))
        if not expanded.text and written:
            return None
        secret = checked(expanded.text)
        if expanded.used:
            return Found(secret, "environment " + ", ".join(expanded.used))
        return Found(secret, "", "a secret is written in the file", "use ${VAR}, file:PATH or credential:NAME")

    def _file(self, written: str) -> Found:
        if not written or written.startswith("~"):
            raise Unreadable("file: needs a path, and '~' is not replaced", "write file:/absolute/path")
        path = self.base / written
        text = self._read(path, f"file {printable(written, 200)}")
        doubt = hint = ""
        if self.stat_file is not None:
            try:
                if stat.S_IMODE(self.stat_file(path).st_mode) & 0o077:
                    doubt = f"other users have access to the secret in {printable(str(path), 200)}"
                    hint = f"chmod 600 {printable(str(path), 200)}"
            except OSError:
                raise Missing(f"file {printable(written, 200)} cannot be examined", "check the path") from None
        return Found(checked(text), f"file {path}", doubt, hint)

    def _credential(self, name: str) -> Found:
        if not name or "/" in name or name in (".", ".."):
            raise Unreadable("credential: needs the name of a credential", "write credential:NAME")
        if self.credentials is None:
            hint = "start the daemon under systemd with LoadCredential=, or use file:PATH"
            raise Missing(f"credential {printable(name)} is not there: $CREDENTIALS_DIRECTORY is not set", hint)
        text = self._read(self.credentials / name, f"credential {printable(name)}")
        return Found(checked(text), f"credential {name}")

    def _read(self, path: Path, what: str) -> str:
        try:
            return self.read_file(path, MAX_SECRET).decode().rstrip("\r\n")
        except OSError as error:
            reason = error.strerror or printable(str(error), 200)
            raise Missing(f"{what} cannot be read: {reason}", "check the path, and who may read it") from None
        except ValueError:
            raise Unreadable(f"{what} is not text in UTF-8", "put the secret there as one line of text") from None


def unset(variables: tuple[str, ...], *, secret: bool = False) -> Missing:
    """The verdict on variables that have no value."""
    names = " and ".join(f"${{{name}}}" for name in variables)
    default = "" if secret else f", or write ${{{variables[0]}:-default}}"
    return Missing(
        f"{names} {'is' if len(variables) == 1 else 'are'} unset or empty", f"set it in the environment{default}"
    )


def checked(text: str) -> Secret:
    """The secret, unless it is empty or could not stand in a header."""
    if not text:
        raise Unreadable("the secret is empty", "leave the key out, or give the secret")
    if any(ord(character) < 32 or character == "\x7f" for character in text):
        raise Unreadable("the secret holds a line break or a control character", "a secret is one line of text")
    if text != text.strip():
        raise Unreadable("the secret begins or ends with a space", "remove the space")
    return Secret(text)
