"""TLS on the way to the daemon: whom to trust, and what to show if the daemon asks.

`--ca`, `--client-cert` and `--client-key`, or `$GATEWAYCTL_CA`, `$GATEWAYCTL_CERT` and `$GATEWAYCTL_KEY`; the unix
socket needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gatewayctl.failures import USAGE, Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc

    from gatewayctl.address import Address

SYSTEM = "system"
"""Instead of a file: the authorities that grpc brings with it."""


class Tls(NamedTuple):
    """No dataclass: their module costs more than all of ours."""

    ca: str
    """File with the authorities to trust, or `system`; empty: no TLS."""
    cert: str = ""
    """File with the certificate to show, for a daemon that asks for one."""
    key: str = ""

    def __bool__(self) -> bool:
        return bool(self.ca)

    def credentials(self) -> grpc.ChannelCredentials:
        """For a connection. Failure if a file cannot be read."""
        import grpc  # noqa: PLC0415

        ca = None if self.ca == SYSTEM else _pem(self.ca, b"CERTIFICATE")
        if not self.cert:
            return grpc.ssl_channel_credentials(ca)
        return grpc.ssl_channel_credentials(ca, _pem(self.key, b"PRIVATE KEY"), _pem(self.cert, b"CERTIFICATE"))


PLAIN = Tls("")


def find_tls(address: Address, ca: str | None, cert: str | None, key: str | None, env: Mapping[str, str]) -> Tls:
    """What to use for the address. Failure (usage) for a part that says nothing without the others."""
    found = Tls(
        ca or env.get("GATEWAYCTL_CA", ""), cert or env.get("GATEWAYCTL_CERT", ""), key or env.get("GATEWAYCTL_KEY", "")
    )
    if bool(found.cert) != bool(found.key):
        raise Failure("a certificate needs its key: give both --client-cert and --client-key, or neither", USAGE)
    if found.cert and not found.ca:
        raise Failure("a certificate is shown by TLS alone: name with --ca whom to trust", USAGE)
    return PLAIN if address.is_unix else found


def _pem(path: str, kind: bytes) -> bytes:
    """What is in the file, as far as there is something of the kind: grpc would only say that nobody answers."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs a cold start
            content = file.read(1 << 20)
        if b"-----BEGIN " not in content or kind + b"-----" not in content:
            raise Failure(f"{path} holds no {kind.decode().lower()} in PEM", USAGE)
        return content
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}", USAGE) from None
