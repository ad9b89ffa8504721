"""The shape of a scope, `KIND` or `KIND:WHAT`, so that a slip is told before a token is made for it.

The daemon has the last word: it reads topics and patterns, we look at the kinds and at what must follow them.
"""

from __future__ import annotations

import difflib
import re

EXAMPLES = {
    "events.publish": "events.publish:message@orders.>",
    "events.subscribe": "events.subscribe:*@*",
    "agents.send": "agents.send:*",
    "agents.register": "agents.register:assistant",
    "runtime": "runtime:*",
    "push": "push:alerts.*",
    "push.join": "push.join:alerts.*",
    "push.publish": "push.publish:alerts.*",
    "push.manage": "push.manage:alerts.*",
    "state": "state:counters.*",
    "state.read": "state.read:counters.*",
    "state.write": "state.write:counters.*",
    "sessions": "sessions:own",
    "admin.read": "admin.read",
    "admin.write": "admin.write",
    "approve": "approve",
}
"""Every kind, with a scope of it."""
MAX_LENGTH = 512
_NAMES = re.compile(r"[\w\-.:=*]+\Z")
_BY_NAME = ("agents.send", "agents.register", "runtime")


def fault(scope: str) -> str:
    """What is wrong with the scope, as a clause that says what to write; empty if it has its shape."""
    kind, colon, rest = scope.partition(":")
    if kind not in EXAMPLES:
        near = difflib.get_close_matches(kind, EXAMPLES, 1)
        kinds = f"the kinds are {', '.join(EXAMPLES)}"
        return f"did you mean {near[0]}? ({kinds})" if near else kinds
    example = EXAMPLES[kind]
    if example == kind:
        return f"write {kind} alone" if colon else ""
    if len(scope) > MAX_LENGTH:
        return f"at most {MAX_LENGTH} characters are allowed"
    if not rest or (kind == "sessions" and rest not in ("own", "all")):
        return "write sessions:own or sessions:all" if kind == "sessions" else f"write what for, such as {example}"
    if kind.startswith("events."):
        return _event_fault(rest, example)
    if kind in _BY_NAME and not _NAMES.match(rest):
        return "a name holds letters, digits and -.:=, and * for any of them"
    return ""


def _event_fault(rest: str, example: str) -> str:
    label, _, topics = rest.partition("@")
    if not label or not topics:
        return f"write TYPE@TOPICS, such as {example}"
    if label == "*":
        return ""
    from gatewayctl.events import event_type  # noqa: PLC0415 - other scopes need no stubs

    try:
        event_type(label)
    except ValueError as error:
        return str(error)
    return "" if label == label.lower() and "-" not in label else f"write the type as {label.lower().replace('-', '_')}"
