"""TLS of the HTTP listener: each handshake uses the certificates that are configured when it begins."""

import os
import ssl
from collections.abc import Callable

from gatewayd.core.pem import Pem, Tls


class Contexts:
    """Makes the contexts of a listener. `current` is what the running configuration says."""

    def __init__(self, current: Callable[[], Tls | None]) -> None:
        self._current = current
        self._tls: Tls | None = None
        self._context: ssl.SSLContext | None = None

    def outer(self) -> ssl.SSLContext | None:
        """For the listener; None where it speaks no TLS.

        Whether clients need a certificate is fixed with it; what it shows and whom it trusts is chosen by handshake.
        """
        if self._current() is None:
            return None
        outer = self._latest()
        outer.sni_callback = self._choose  # called for clients that name no host, too
        return outer

    def _choose(self, line: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        del name, context
        line.context = self._latest()

    def _latest(self) -> ssl.SSLContext:
        tls = self._current()
        if self._context is None or (tls is not None and tls != self._tls):
            assert tls is not None, "asked for a context before there was a certificate"
            self._tls, self._context = tls, context_of(tls)
        return self._context


def refusal(tls: Tls) -> str:
    """Why no listener can be made with it; '' if one can."""
    try:
        context_of(tls)
    except ssl.SSLError as error:
        return (error.reason or str(error)).lower().replace("_", " ")
    return ""


def context_of(tls: Tls) -> ssl.SSLContext:
    """What shows this certificate, and asks for those of clients if their authority is known."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A resumed session is not asked for its certificate again, and could outlive its authority.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    _load(context, tls.cert, tls.key)
    if tls.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=tls.client_ca.data.reveal())
    return context


def _load(context: ssl.SSLContext, cert: Pem, key: Pem) -> None:
    """From what was read with the configuration, which was found to fit; OpenSSL takes files alone."""
    memory = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(memory, f"{key.data.reveal()}\n{cert.data.reveal()}".encode())
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
