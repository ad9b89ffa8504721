"""Certificates and keys as the configuration holds them: the text of a file, and where it was."""

from gatewayd.core.secret import Secret
from gatewayd.core.value import value


@value(frozen=True, slots=True)
class Pem:
    """What a file in PEM held when it was read; printed as its path and a fingerprint."""

    path: str
    data: Secret

    def __str__(self) -> str:
        return f"{self.path} ({self.data})"


@value(frozen=True, slots=True)
class Tls:
    """What a listener shows of itself, and whom it wants to see."""

    cert: Pem
    """The listener's own certificate, and those between it and its authority."""
    key: Pem
    client_ca: Pem | None = None
    """Authorities of which every client must have a certificate; None asks for none."""
