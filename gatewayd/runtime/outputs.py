"""What an agent puts out, as events."""

from typing import Any

from gatewayd.agents.base import Output, ReasoningOutput, TextOutput, ToolCompleted, ToolStarted
from gatewayd.core.event import EventType


def told(output: Output, offset: int) -> tuple[EventType, dict[str, Any]]:
    """Type and data of the event that tells of an output; `offset` is how much text came before."""
    match output:
        case TextOutput(content):
            return EventType.LLM_TEXT_DELTA, {"content": content, "offset": offset}
        case ReasoningOutput(content):
            return EventType.LLM_REASONING_DELTA, {"content": content}
        case ToolStarted(tool_use_id, tool_name, tool_input):
            asked = {"tool_use_id": tool_use_id, "tool_name": tool_name, "tool_input": tool_input}
            return EventType.TOOL_CALL_STARTED, asked
        case ToolCompleted(tool_use_id, tool_name, result, is_error):
            answered = {"tool_use_id": tool_use_id, "tool_name": tool_name, "result": result, "is_error": is_error}
            return EventType.TOOL_CALL_COMPLETED, answered
