"""Names in what clients send: present where they must be, printable, within their length."""

from gatewayd.wire.values import refuse

MAX_ID = 128
"""Longest id of a request, subscription, client or delivery, in characters."""

MAX_KEY = 256
"""Longest of the other names, in characters."""


def required(text: str, path: str, limit: int = MAX_KEY) -> str:
    """The name, or `InvalidArgument` under `path` when it is empty, too long or not printable."""
    if not text:
        raise refuse(path, "is required")
    return name(text, path, limit)


def name(text: str, path: str, limit: int = MAX_KEY) -> str:
    """As `required`, for one that may be empty."""
    if len(text) > limit:
        raise refuse(path, f"is longer than {limit} characters")
    if not text.isprintable():
        raise refuse(path, "holds characters that are not printable")
    return text
