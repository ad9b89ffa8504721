"""Secrets as a type: what is printed is a fingerprint, and nothing serialises the value.

`Secret.reveal()` is the only way to the text; a reader of the code finds every use by that name.
The mask that keeps secrets out of the logs is an object of the daemon (`daemon/logs.py`), fed by `forms`.
"""

import base64
import hashlib
import urllib.parse


class Secret:
    """A token, key or password. Equal when the texts are equal; printed as `secret:1f3a9c07`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that must send or compare it."""
        return self._text

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits of the SHA-256: enough to tell two apart, too little to find one."""
        return hashlib.sha256(self._text.encode()).hexdigest()[:8]

    def forms(self) -> list[str]:
        """The text and the forms under which it could slip into an output: base64, hex, URL-encoded."""
        raw = self._text.encode()
        forms = {
            self._text,
            base64.b64encode(raw).decode().rstrip("="),
            base64.urlsafe_b64encode(raw).decode().rstrip("="),
            raw.hex(),
            urllib.parse.quote(self._text, safe=""),
        }
        return sorted(forms, key=len, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"secret:{self.fingerprint}"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is never serialised")
