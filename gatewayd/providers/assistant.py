"""What `offline/assistant` says: a few rules, the first that fits answers. No state; the prompt is all it knows."""

import json
import re
from collections.abc import Callable, Sequence

from gatewayd.providers.base import ChatMessage, Prompt, Role, ToolCallPiece

_TIME = re.compile(r"\b(what(?:'s| is)? .*\b(?:time|date|day)\b|what day|current time|time is it)\b", re.IGNORECASE)
_ZONE = re.compile(r"\b([A-Z][A-Za-z]+/[A-Z][A-Za-z_/]+)\b")
_CALL = re.compile(r"\s*call\s+(?:the tool\s+)?([\w.\-]{1,64})\s*(\{.*\})?\s*\Z", re.IGNORECASE | re.DOTALL)
_HELLO = re.compile(r"\s*(hello|hi|hey|good (?:morning|afternoon|evening))\b", re.IGNORECASE)
_THANKS = re.compile(r"\b(thanks|thank you)\b", re.IGNORECASE)
_HELP = re.compile(r"\b(help|what can you do|who are you)\b", re.IGNORECASE)
_TURNS = re.compile(r"\bhow (?:many|often)\b.*\b(messages?|turns?|times|said|written)\b", re.IGNORECASE)
_QUOTE = 200

Answer = str | Sequence[ToolCallPiece]


def answer(prompt: Prompt) -> Answer:
    """The text to say, or the pieces of the tool call to make, for the last message of the prompt."""
    last = prompt.messages[-1] if prompt.messages else ChatMessage(Role.USER, "")
    if last.role is Role.TOOL:
        return _tell(prompt.messages)
    text = last.content
    turn = sum(1 for message in prompt.messages if message.role is Role.USER)
    granted = [tool.name for tool in prompt.tools] if prompt.tool_choice != "none" else []
    if match := _CALL.match(text):
        return _call(match[1], match[2] or "{}")
    if _TIME.search(text):
        if "current_time" not in granted:
            return "I have no tool that tells me the time."
        zone = _ZONE.search(text)
        return _call("current_time", json.dumps({"timezone": zone[1]} if zone else {}))
    if prompt.tool_choice == "required" and granted:
        return _call(granted[0], "{}")
    return next(say(text, turn) for fits, say in _RULES if fits(text))


def _call(name: str, arguments: str) -> Sequence[ToolCallPiece]:
    """A call as models stream it: the name first, then the arguments in two halves."""
    middle = len(arguments) // 2
    return (
        ToolCallPiece(0, id=f"offline-{name}", name=name),
        ToolCallPiece(0, arguments=arguments[:middle]),
        ToolCallPiece(0, arguments=arguments[middle:]),
    )


def _tell(messages: Sequence[ChatMessage]) -> str:
    result = messages[-1]
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    name = names.get(result.tool_call_id, "the tool")
    if result.content.startswith("Error: "):
        return f"I could not use {name}: {result.content.removeprefix('Error: ')}"
    return f"It is {result.content}." if name == "current_time" else f"{name} says: {result.content}"


def _hello(_text: str, turn: int) -> str:
    again = " again" if turn > 1 else ""
    return f"Hello{again}! I am the offline assistant: I answer inside the gateway. Ask me what time it is."


def _help(_text: str, _turn: int) -> str:
    return (
        "I am offline/assistant, a small model inside gatewayd for trying it out. I greet, I tell the time with a tool "
        "('what time is it in Europe/Berlin?'), I count your messages, and I repeat what I do not understand. "
        "Set another model in gateway.yaml to talk to a real one."
    )


def _turns(_text: str, turn: int) -> str:
    return f"You have written {turn} message{'s' if turn != 1 else ''} in this conversation."


def _thanks(_text: str, _turn: int) -> str:
    return "You are welcome."


def _acknowledge(text: str, turn: int) -> str:
    said = " ".join(text.split())
    if not said:
        return f"That was an empty message, your message {turn} in this conversation."
    quoted = said if len(said) <= _QUOTE else said[:_QUOTE] + "…"
    return f"You said: “{quoted}”. That was message {turn} of this conversation."


_Rule = tuple[Callable[[str], object], Callable[[str, int], str]]
_RULES: Sequence[_Rule] = (
    (_HELLO.match, _hello),
    (_TURNS.search, _turns),
    (_HELP.search, _help),
    (_THANKS.search, _thanks),
    (lambda _text: True, _acknowledge),
)
