"""Which token goes to which address. A token is never sent to an address that it was not stored for.

Three places, each a pair: `--token-file` (its own address lines, or one token for the address that was named),
`$GATEWAYD_TOKEN` with `$GATEWAYD_ADDRESS`, and the user's file with one `ADDRESS TOKEN` a line. Whoever listens on
the default port by chance therefore learns nothing.
"""

from collections.abc import Mapping

from gatewayctl.address import Address, canonical
from gatewayctl.failures import USAGE, Failure
from gatewayctl.system import private_text


def find_token(
    address: Address, token_file: str | None, env: Mapping[str, str], *, encrypted: bool = False
) -> str | None:
    """The token for this address; None sends none. Failure if a file is not private or not readable.

    `encrypted`: whether the way there is; otherwise no token leaves this machine.
    """
    if token_file:
        token = _from_option(address, token_file)
    elif "GATEWAYD_TOKEN" in env and _is_of_environment(address, env):
        token = env["GATEWAYD_TOKEN"].strip() or None
    else:
        token = _from_file(address, env)
    if token and not (token.isascii() and token.isprintable()):
        raise Failure(f"the token for {address.text} has characters that are in no token: copy it again", USAGE)
    if token and not address.is_local and not encrypted:
        raise Failure(
            f"a token would cross the network to {address.text} in the clear: name with --ca whom to trust, or "
            "forward the port (ssh -L 8765:127.0.0.1:8765 HOST) and store the token for 127.0.0.1:8765"
        )
    return token


def unused_token(address: Address, env: Mapping[str, str]) -> str:
    """Why `$GATEWAYD_TOKEN` was not sent to the address, and what to do; empty if it is not set, or was sent."""
    if not env.get("GATEWAYD_TOKEN", "").strip() or _is_of_environment(address, env):
        return ""
    return (
        "GATEWAYD_TOKEN is set but was not sent: it counts only for the address in GATEWAYD_ADDRESS; "
        f"set GATEWAYD_ADDRESS={address.text}"
    )


def credentials_path(env: Mapping[str, str]) -> str:
    """The user's file, whether it exists or not."""
    base = env.get("XDG_CONFIG_HOME") or f"{env.get('HOME', '')}/.config"
    return f"{base}/gatewayctl/credentials"


def _is_of_environment(address: Address, env: Mapping[str, str]) -> bool:
    named = env.get("GATEWAYD_ADDRESS")
    return bool(named) and canonical(named or "") == address.text


def _from_option(address: Address, path: str) -> str | None:
    lines = _lines(path, must_exist=True)
    if len(lines) == 1 and len(lines[0]) == 1:
        if not address.given:
            raise Failure(
                f"{path} holds a token without an address: name one with --address, or write ADDRESS TOKEN", USAGE
            )
        return lines[0][0]
    pairs = _pairs(path, lines)
    if address.text not in pairs:
        raise Failure(f"{path} holds no token for {address.text}: add a line with ADDRESS TOKEN", USAGE)
    return pairs[address.text]


def _from_file(address: Address, env: Mapping[str, str]) -> str | None:
    path = credentials_path(env)
    return _pairs(path, _lines(path, must_exist=False)).get(address.text)


def _pairs(path: str, lines: list[list[str]]) -> dict[str, str]:
    pairs = {}
    for words in lines:
        if len(words) != 2:
            raise Failure(f"{path} has a line that is not ADDRESS TOKEN: correct it", USAGE)
        pairs[canonical(words[0])] = words[1]
    return pairs


def _lines(path: str, *, must_exist: bool) -> list[list[str]]:
    try:
        text = private_text(path)
    except FileNotFoundError:
        if not must_exist:
            return []
        raise Failure(f"there is no token file {path}", USAGE) from None
    except PermissionError as error:
        raise Failure(error.args[0] if len(error.args) == 1 else f"{path} cannot be read: check its owner") from None
    except (OSError, UnicodeDecodeError):
        raise Failure(f"{path} cannot be read as text: correct or remove it", USAGE) from None
    return [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
