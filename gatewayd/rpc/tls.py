"""TLS of the gRPC listener: each handshake uses the certificates that are configured when it begins."""

from collections.abc import Callable

import grpc

from gatewayd.core.pem import Tls


class Certificates:
    """Gives grpc what to show. `current` is what the running configuration says; it is asked at every handshake."""

    def __init__(self, first: Tls, current: Callable[[], Tls | None]) -> None:
        self._shown = first
        self._current = current

    def credentials(self) -> grpc.ServerCredentials:
        """For a listener. Whether clients need a certificate is fixed with it; of which authority, is not."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._shown),
            self._fetch,  # type: ignore[arg-type]  # the stubs do not know that it may keep what there was
            require_client_authentication=self._shown.client_ca is not None,
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by grpc, in one of its threads; None keeps what was shown last."""
        current = self._current()
        if current is None or current == self._shown:
            return None
        self._shown = current
        return _configuration(current)


def _configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    pair = (tls.key.data.reveal().encode(), tls.cert.data.reveal().encode())
    authorities = tls.client_ca.data.reveal().encode() if tls.client_ca is not None else None
    return grpc.ssl_server_certificate_configuration([pair], authorities)
