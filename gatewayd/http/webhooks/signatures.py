"""Whether a request was signed by somebody who has a key. Pure: bytes and the time in, a verdict out.

Two schemes. GitHub's is `X-Hub-Signature-256: sha256=HEX`, an HMAC-SHA256 over the body as it came. That of
Standard Webhooks (https://www.standardwebhooks.com) signs `webhook-id`, `webhook-timestamp` and the body with dots
between them, and puts `v1,BASE64` into `webhook-signature`; several with spaces between while a secret is replaced.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

WINDOW = 300.0
"""Seconds by which a signed time may differ from ours, in either direction."""
GITHUB_SIGNATURE, GITHUB_DELIVERY = "x-hub-signature-256", "x-github-delivery"
STANDARD_SIGNATURE, STANDARD_DELIVERY, STANDARD_TIME = "webhook-signature", "webhook-id", "webhook-timestamp"
_MAX_DIGITS = 15


class Flaw(StrEnum):
    """Why a request is not taken for the sender's; for the log, not for who asked."""

    ABSENT = "no signature"
    WRONG = "the signature is not by a secret of this route"
    NO_TIME = "no time, or one that is no number"
    OLD = "signed too long ago"
    FUTURE = "signed in the future"


def flaw_of(scheme: str, keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float) -> Flaw | None:
    """What is wrong with the signature; None for one that one of the keys has made. `headers` by small letters."""
    if scheme == "github":
        return _github(keys, headers.get(GITHUB_SIGNATURE, ""), body)
    return _standard(keys, headers, body, now)


def delivery_of(scheme: str, headers: Mapping[str, str]) -> str:
    """What the sender calls this delivery, the same at each of its tries; '' when it does not say."""
    return headers.get(GITHUB_DELIVERY if scheme == "github" else STANDARD_DELIVERY, "")


def _github(keys: Sequence[bytes], given: str, body: bytes) -> Flaw | None:
    if not given:
        return Flaw.ABSENT
    made = [f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}".encode() for key in keys]
    return None if _any_equal(made, [_bytes(given.lower())]) else Flaw.WRONG


def _standard(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float) -> Flaw | None:
    delivery, signed = headers.get(STANDARD_DELIVERY, ""), headers.get(STANDARD_TIME, "")
    given = [_bytes(each[3:]) for each in headers.get(STANDARD_SIGNATURE, "").split() if each.startswith("v1,")]
    if not delivery or not given:
        return Flaw.ABSENT
    if not (signed.isascii() and signed.isdigit() and len(signed) <= _MAX_DIGITS):
        return Flaw.NO_TIME
    content = b".".join((_bytes(delivery), _bytes(signed), body))
    made = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()) for key in keys]
    if not _any_equal(made, given):
        return Flaw.WRONG
    # Only who has a key hears of the time, so that nobody else can learn our clock.
    if now - int(signed) > WINDOW:
        return Flaw.OLD
    return Flaw.FUTURE if int(signed) - now > WINDOW else None


def _any_equal(made: Iterable[bytes], given: Sequence[bytes]) -> bool:
    """Each is compared with each, to the end: how long it takes says nothing about any of them."""
    found = False
    for ours in made:
        for theirs in given:
            found |= hmac.compare_digest(ours, theirs)
    return found


def _bytes(header: str) -> bytes:
    """What is no text in a header is part of nothing that anybody signed."""
    return header.encode(errors="replace")
