"""Prompts and deltas in the form of OpenAI's chat completions, which LiteLLM speaks for every provider."""

import email.utils
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gatewayd.providers.base import (
    ChatMessage,
    Delta,
    FinishReason,
    Prompt,
    Reasoning,
    Text,
    ToolCallPiece,
    ToolSchema,
    Usage,
)

LONGEST_WAIT: Final = 3600.0
"""Seconds; a server that asks for more is taken to ask for this."""

_FINISH = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


def request(prompt: Prompt) -> dict[str, Any]:
    """The arguments that say what is asked; how the server is reached is not among them."""
    arguments: dict[str, Any] = {"model": prompt.model, "messages": [_message(each) for each in prompt.messages]}
    if prompt.tools:
        arguments["tools"] = [_tool(each) for each in prompt.tools]
        arguments["tool_choice"] = prompt.tool_choice
    if prompt.temperature is not None:
        arguments["temperature"] = prompt.temperature
    if prompt.max_tokens is not None:
        arguments["max_tokens"] = prompt.max_tokens
    return arguments


def deltas(chunk: Any) -> Iterator[Delta]:
    """What one chunk adds to the answer."""
    if not chunk.choices:
        return
    delta = chunk.choices[0].delta
    if reasoning := getattr(delta, "reasoning_content", None):
        yield Reasoning(reasoning)
    if delta.content:
        yield Text(delta.content)
    for piece in delta.tool_calls or ():
        function = piece.function
        yield ToolCallPiece(piece.index, piece.id or "", function.name or "", function.arguments or "")


def finish_reason(chunk: Any) -> str | None:
    """The finish reason that a chunk carries, if any."""
    return chunk.choices[0].finish_reason if chunk.choices else None


def read_finish(reason: str | None) -> FinishReason:
    """The reason as ours; names that only some servers use mean that the model was done."""
    return _FINISH.get(reason or "", FinishReason.STOP)


def usage(chunk: Any) -> Usage | None:
    """The tokens, on the chunk that has them. LiteLLM estimates them where the server does not say."""
    counted = getattr(chunk, "usage", None)
    return Usage(counted.prompt_tokens or 0, counted.completion_tokens or 0) if counted else None


def retry_after(error: Exception, now: float) -> float | None:
    """Seconds until the server wants to be asked again, where it says; `now` is Unix time."""
    headers: Mapping[str, str] = (
        getattr(error, "litellm_response_headers", None)
        or getattr(getattr(error, "response", None), "headers", None)
        or {}
    )
    text = headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
        except ValueError:
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else None  # noqa: PLR0124  # not a number


def _message(message: ChatMessage) -> dict[str, Any]:
    form: dict[str, Any] = {"role": message.role.value, "content": message.content}
    if message.tool_calls:
        form["content"] = message.content or None
        form["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        form["tool_call_id"] = message.tool_call_id
    return form


def _tool(tool: ToolSchema) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}
