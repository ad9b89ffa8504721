"""The mask: every secret that was ever loaded, and how it is kept out of what is written.

The daemon owns one. It is fed at load and at every reload, and forgets nothing: an old secret may still turn up in a
late error message.
"""

import json
import re
from collections.abc import Iterable

from gatewayd.core.secret import Secret

SHORTEST = 4
"""Shorter forms are not masked: they would tear holes into every line, and a secret of three letters is none."""
MAX_FORMS = 20_000
"""Beyond this the oldest forms are forgotten, so that a daemon that reloads for years stays bounded."""


class Mask:
    """Replaces every known secret, and its base64, hex, URL-encoded and JSON forms, by its fingerprint."""

    def __init__(self) -> None:
        self._forms: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def add(self, secrets: Iterable[Secret]) -> None:
        """Know these from now on."""
        before = len(self._forms)
        for secret in secrets:
            for form in secret.forms():
                for written in (form, json.dumps(form)[1:-1], repr(form)[1:-1]):
                    if len(written) >= SHORTEST:
                        self._forms.setdefault(written, repr(secret))
        while len(self._forms) > MAX_FORMS:
            del self._forms[next(iter(self._forms))]
        if len(self._forms) != before or self._pattern is None:
            # Longest first: a secret that contains another one must go as a whole.
            forms = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, forms))) if forms else None

    def apply(self, text: str) -> str:
        """The text without any known secret."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: f"[{self._forms[match[0]]}]", text)
