"""Whether certificates, keys and authorities fit together, and how long they hold. Pure; the time is passed in.

What reads them is imported only where there are any: it costs a tenth of a second.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from gatewayd.config.gateway import GatewaySection
from gatewayd.config.problems import Path
from gatewayd.core.pem import Pem

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

SOON: Final = 21 * 86400.0
"""Seconds before its end from which on a certificate is told of."""
_CERT, _KEY, _CA = (("gateway", key) for key in ("ssl_cert", "ssl_key", "ssl_client_ca"))
_BEGINS: Final = ("-----BEGIN CERTIFICATE-----", "-----BEGIN X509 CERTIFICATE-----")
_WHOLE: Final = "put whole files in place: write beside, then rename"


def misfits(gateway: GatewaySection) -> Iterator[tuple[Path, str, str]]:
    """What is wrong with the three of them: path, what, what to do."""
    certificates: list[Certificate] = []
    key: Any = None
    if gateway.ssl_cert is not None:
        certificates = _certificates(gateway.ssl_cert)
        if not certificates:
            yield _CERT, f"{gateway.ssl_cert.path} holds no certificate that can be read", "give one in PEM"
        elif len(certificates) != _announced(gateway.ssl_cert):
            yield _CERT, f"{gateway.ssl_cert.path} is cut off, or damaged", _WHOLE
    if gateway.ssl_key is not None:
        key = _key(gateway.ssl_key)
        if key is None:
            hint = "give a key in PEM that is not encrypted"
            yield _KEY, f"{gateway.ssl_key.path} holds no private key that can be read", hint
        elif not _is_common(key):
            what = f"not every client takes the kind of key in {gateway.ssl_key.path}"
            yield _KEY, what, "make one for the curve P-256 or P-384, or for RSA with 2048 bits or more"
    if certificates and key is not None and certificates[0].public_key() != key.public_key():
        yield _KEY, "this is not the key of ssl_cert", "the first certificate of ssl_cert must be the listener's own"
    if gateway.ssl_client_ca is not None:
        authorities = _certificates(gateway.ssl_client_ca)
        if not authorities:
            yield _CA, f"{gateway.ssl_client_ca.path} holds no certificate that can be read", "give authorities in PEM"
        elif len(authorities) != _announced(gateway.ssl_client_ca):
            yield _CA, f"{gateway.ssl_client_ca.path} is cut off, or damaged", _WHOLE


def ends(gateway: GatewaySection) -> Iterator[tuple[Path, str, float, float]]:
    """Path, file, and from when to when (Unix seconds) the listener's own certificate, and each authority, holds."""
    for path, pem in ((_CERT, gateway.ssl_cert), (_CA, gateway.ssl_client_ca)):
        if pem is None:
            continue
        for one in _certificates(pem)[: 1 if path == _CERT else None]:
            yield path, pem.path, one.not_valid_before_utc.timestamp(), one.not_valid_after_utc.timestamp()


def _certificates(pem: Pem) -> "list[Certificate]":
    from cryptography import x509  # noqa: PLC0415

    try:
        return x509.load_pem_x509_certificates(pem.data.reveal().encode())
    except ValueError:
        return []


def _announced(pem: Pem) -> int:
    """Certificates that begin in the file. The library leaves out one that is cut off; the listeners do not."""
    return sum(line.strip() in _BEGINS for line in pem.data.reveal().splitlines())


def _is_common(key: Any) -> bool:
    """Whether both listeners, and clients made with any library, speak with such a key."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415

    if isinstance(key, rsa.RSAPrivateKey):
        return key.key_size >= 2048
    return isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in ("secp256r1", "secp384r1")


def _key(pem: Pem) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    try:
        return serialization.load_pem_private_key(pem.data.reveal().encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
