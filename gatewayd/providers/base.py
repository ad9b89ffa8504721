"""The contract of a model provider: a prompt goes in, a stream of deltas comes out.

A provider makes one try. Retries, fallback models and the circuit breaker live in `providers.fallback`, once for all.

**The stream.** `stream()` yields text, reasoning and pieces of tool calls as they arrive, and `Finished` last. A stream
that ends without `Finished` was cut off; the provider raises `ModelTruncated` rather than end in silence. A piece of a
tool call is never more than a piece: only after `Finished` may the caller run what the pieces add up to.

**Errors** are verdicts: `ModelUnavailable` (another try or another model may work), `ModelRefused` (this request will
not work with this model), `ModelTruncated` (text may have been shown already). Anything else is a bug.
**Cancellation** ends the request to the model; closing the iterator does the same.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Any, Protocol

from gatewayd.core.secret import Secret
from gatewayd.core.value import value

__all__ = [
    "ChatMessage",
    "Delta",
    "FinishReason",
    "Finished",
    "LLMProvider",
    "ModelError",
    "ModelRefused",
    "ModelTruncated",
    "ModelUnavailable",
    "Prompt",
    "Reasoning",
    "Role",
    "Text",
    "ToolCall",
    "ToolCallPiece",
    "ToolSchema",
    "Usage",
]


class ModelError(Exception):
    """A model did not answer as it should. The text is for the log; it never holds a secret or message text."""


class ModelUnavailable(ModelError):
    """Refused connection, timeout, 429, 5xx, overload."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds, where the provider says."""


class ModelRefused(ModelError):
    """Bad credentials, unknown model, request too large, content refused."""


class ModelTruncated(ModelError):
    """The stream broke off in the middle."""


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@value(frozen=True, slots=True)
class ToolCall:
    """A whole call, as the model asked for it."""

    id: str
    name: str
    arguments: str
    """JSON text of an object."""


@value(frozen=True, slots=True)
class ChatMessage:
    """One message of a prompt."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    """For role TOOL: the call that this is the result of."""


@value(frozen=True, slots=True)
class ToolSchema:
    """A tool as the model sees it."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of the arguments object."""


@value(frozen=True, slots=True)
class Prompt:
    """One request to one model."""

    model: str
    messages: Sequence[ChatMessage]
    tools: Sequence[ToolSchema] = ()
    tool_choice: str = "auto"
    temperature: float | None = None
    max_tokens: int | None = None
    base_url: str = ""
    api_key: Secret | None = None
    timeout: float = 60.0
    """Seconds until the first delta, and between one delta and the next."""


@value(frozen=True, slots=True)
class Text:
    content: str


@value(frozen=True, slots=True)
class Reasoning:
    content: str


@value(frozen=True, slots=True)
class ToolCallPiece:
    """Part of a tool call; pieces with one `index` add up."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    """The model hit `max_tokens`: text is an answer cut short, a tool call is not to be run."""
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


@value(frozen=True, slots=True)
class Usage:
    """Tokens, as the provider counts them; 0 where it does not say."""

    input_tokens: int = 0
    output_tokens: int = 0


@value(frozen=True, slots=True)
class Finished:
    reason: FinishReason
    usage: Usage = field(default_factory=Usage)


Delta = Text | Reasoning | ToolCallPiece | Finished


class LLMProvider(Protocol):
    """One way to reach models. The part of a model's name before the first slash may select the provider."""

    async def load(self) -> None:
        """Do what is slow (imports, connections) before the daemon says READY."""
        ...

    def stream(self, prompt: Prompt) -> AsyncIterator[Delta]:
        """Make one try. See the module's docstring."""
        ...

    async def close(self) -> None:
        """Close connections; nothing is streamed afterwards."""
        ...
