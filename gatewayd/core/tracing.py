"""Tracing without a library: what a part tells a tracer, and the context that travels with a message.

The context is the `traceparent` of W3C Trace Context (https://www.w3.org/TR/trace-context). A part without a tracer
passes on the one that it was given and makes no spans.
"""

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Protocol

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?\Z")


class Operation(StrEnum):
    """What a span of the message engine is about."""

    CREATE = "create"
    """A message was made; on the side of its sender."""
    SEND = "send"
    """From the sending of a call to its reply."""
    PUBLISH = "publish"
    """The handing over of a message to all who subscribed."""
    PROCESS = "process"
    """One handler with one message."""
    ACK = "ack"
    """The reply reached the caller."""


class Span(Protocol):
    """One open span."""

    @property
    def traceparent(self) -> str:
        """The context of its children."""
        ...


class Tracer(Protocol):
    """Makes spans. It never fails and never waits."""

    def span(
        self, operation: Operation, target: str, *, parent: str, attributes: Mapping[str, str]
    ) -> AbstractContextManager[Span]:
        """A span of that operation on an agent or a topic, open within the block; an exception that leaves it is told.

        `parent` is a traceparent, or '' for a trace of its own.
        """
        ...


def checked_traceparent(text: str) -> str:
    """The context, or '' when it is not one: the standard wants a new trace then, not an error."""
    return text if _TRACEPARENT.match(text) else ""
