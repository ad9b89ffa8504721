"""Tokens: 256 bits of chance with the client's id before them, kept only as a SHA-256.

A token is `gw_<client id>_<43 characters>`. The digest is of the whole text. No slow hash: there is nothing to guess
in 256 random bits. `gateway.auth_token` may be any text; it belongs to the client `default`.
"""

import base64
import hashlib
import re
from pathlib import Path

from gatewayd.access.principals import DEFAULT
from gatewayd.core.clock import Randomness
from gatewayd.core.disk import Disk
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.secret import Secret

SECRET_BYTES = 32
MAX_TOKEN_LENGTH = 512
"""Longer texts are no tokens; they are not even hashed as a whole."""
TOKEN_FILE = "token"  # the name of a file
"""Where the generated token of `default` is kept, in the state directory."""

_FORM = re.compile(r"gw_([\w\-.]{1,64})_([A-Za-z0-9_\-]{43})\Z", re.ASCII)


def mint(client_id: str, randomness: Randomness) -> Secret:
    """A fresh token for the client. Raises `InvalidArgument` for an id that cannot be a part of one."""
    secret = base64.urlsafe_b64encode(randomness.token(SECRET_BYTES)).decode().rstrip("=")
    text = f"gw_{client_id}_{secret}"
    if client_of(text) != client_id:
        raise InvalidArgument(f"{client_id!r} cannot be a client id: 1 to 64 of A-Z, a-z, 0-9 and _-.")
    return Secret(text)


def client_of(token: str) -> str:
    """The client id that a token claims; `default` for a text of any other form."""
    match = _FORM.match(token)
    return match[1] if match else DEFAULT


def digest_of(token: str) -> str:
    """SHA-256 of the token in hexadecimal, as `token_sha256` in gateway.yaml has it."""
    return hashlib.sha256(token[: MAX_TOKEN_LENGTH + 1].encode(errors="surrogatepass")).hexdigest()


def stored_token(disk: Disk, state: Path, randomness: Randomness, revoked: frozenset[str]) -> tuple[Secret, bool]:
    """The generated token of `default`, and whether it was made just now.

    It is made at the first start, and again when the one in the file was revoked: otherwise a revocation would lock
    the operator out for good. The file has mode 0600. Raises `OSError` when it can be neither read nor written.
    """
    path = state / TOKEN_FILE
    try:
        kept = Secret(disk.read(path, 4096).decode("ascii").strip())
        if disk.stat(path).st_mode & 0o077:
            disk.write_private(path, f"{kept.reveal()}\n".encode())
    except (FileNotFoundError, UnicodeDecodeError):
        kept = Secret("")
    if client_of(kept.reveal()) == DEFAULT and _FORM.match(kept.reveal()) and digest_of(kept.reveal()) not in revoked:
        return kept, False
    made = mint(DEFAULT, randomness)
    disk.write_private(path, f"{made.reveal()}\n".encode())
    return made, True
