"""The section `webhooks`: where others say over HTTP that something happened, and how they prove who they are."""

import base64
import binascii
import re
from typing import Annotated, Literal

from gatewayd.config.fields import Flag, Length, names
from gatewayd.config.plain import refuse
from gatewayd.config.section import Section, setting
from gatewayd.core.secret import Secret

PREFIX = "whsec_"
"""What secrets of the Standard Webhooks scheme begin with; behind it they are base64."""
_PATH = re.compile(r"(/[A-Za-z0-9_~.\-]+)+\Z")
_MAX_PATH = 200
_OURS = ("/healthz", "/v1")

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


def webhook_path(value: object) -> str:
    """An absolute path that needs no escapes, and that nothing of the gateway's own is under."""
    text = value if isinstance(value, str) else ""
    steps = text.split("/")
    if len(text) > _MAX_PATH or not _PATH.match(text) or "." in steps or ".." in steps:
        raise refuse(
            f"a path of at most {_MAX_PATH} characters",
            "such as /hooks/github, of letters, digits, '_', '-', '.' and '~', without a slash at its end",
        )
    if any(text == each or text.startswith(f"{each}/") for each in _OURS):
        raise refuse("a path that is free", "/healthz and /v1 are the gateway's own; /hooks/NAME is usual")
    return text


def key_of(secret: Secret) -> bytes | None:
    """The key of a secret of the Standard Webhooks scheme; None when it is not base64, or holds nothing."""
    try:
        return base64.b64decode(secret.reveal().removeprefix(PREFIX), validate=True) or None
    except (binascii.Error, ValueError):
        return None


class WebhookSection(Section):
    """`webhooks.<source_id>`: one path on the HTTP listener. What comes there is an event of the stream `source_id`."""

    path: Annotated[str, webhook_path] = setting(
        description="Path on the HTTP listener (`gateway.http`), such as /hooks/github; one path for one source."
    )
    methods: Annotated[tuple[Method, ...], names, Length(1, 5)] = setting(
        default=("POST",), description="Methods that are taken: GET, POST, PUT, PATCH, DELETE. Default [POST]."
    )
    secret: Secret | Annotated[tuple[Secret, ...], Length(1, 2)] | None = setting(
        default=None,
        description="What the sender signs with: ${VAR}, file:PATH or credential:NAME; a list of two while one "
        "replaces another. Needed, unless insecure_no_secret says otherwise.",
    )
    scheme: Literal["github", "standard"] = setting(
        default="github",
        description="How it is signed: `github` (default), X-Hub-Signature-256 over the body; `standard`, the headers "
        "webhook-id, webhook-timestamp and webhook-signature of Standard Webhooks, with a secret in base64.",
    )
    insecure_no_secret: Flag = setting(
        default=False,
        description="Whether whoever reaches the listener on loopback may send here without a signature: for trying "
        "things out. Default false.",
    )

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All that a sender may sign with now."""
        if self.secret is None:
            return ()
        return (self.secret,) if isinstance(self.secret, Secret) else self.secret

    def keys(self) -> tuple[bytes, ...]:
        """The same as bytes, as the scheme wants them."""
        if self.scheme == "github":
            return tuple(secret.reveal().encode() for secret in self.secrets)
        return tuple(key for secret in self.secrets if (key := key_of(secret)) is not None)


__all__ = ["PREFIX", "WebhookSection", "key_of"]
