"""Authorities and certificates for stories about TLS, made on the spot."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


class Authority:
    """Issues certificates."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._own = self._sign(self._name, self._key, 30.0, is_authority=True)

    @property
    def pem(self) -> bytes:
        return self._own.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, days: float = 30.0, key: Key | None = None) -> tuple[bytes, bytes]:
        """Certificate and key for `localhost` and 127.0.0.1, which holds for so many days; fewer than 0: ended."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        cert = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, days)
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        return (
            cert.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(serialization.Encoding.PEM, form, plain),
        )

    def _sign(self, subject: x509.Name, key: Key, days: float, *, is_authority: bool = False) -> x509.Certificate:
        now = datetime.now(UTC)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if not is_authority:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


class Folder:
    """Where a daemon, and its clients, find theirs."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir(exist_ok=True)

    def path(self, name: str) -> str:
        return str(self.place / name)

    def put(self, name: str, pem: bytes) -> str:
        """Write or replace one; its path."""
        path = self.place / name
        path.write_bytes(pem)
        path.chmod(0o640)
        return str(path)

    def pair(self, name: str, authority: Authority, days: float = 30.0) -> tuple[str, str]:
        """Issue, and write or replace `NAME.pem` and `NAME.key`; their paths."""
        cert, key = authority.issue(name, days)
        return self.put(f"{name}.pem", cert), self.put(f"{name}.key", key)
