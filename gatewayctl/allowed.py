"""What the daemon lets us do, so that a command asks for nothing that would be refused, and audited."""

from __future__ import annotations

from gatewayctl.client import Client

__all__ = ["QUESTIONS", "allows", "not_shown"]

QUESTIONS = "events.subscribe:client_input_requested@*"
"""The scope that shows what agents ask."""
_EVENTS = "events.subscribe"


def allows(client: Client, scope: str) -> bool:
    """Whether we hold it: events of the type on every topic, or any scope of another kind.

    An older daemon says nothing of scopes; then there is no way but to ask.
    """
    kind, _, what = scope.partition(":")
    if kind != _EVENTS:
        return not client.scopes or any(held.partition(":")[0] == kind for held in client.scopes)
    wide = {f"{_EVENTS}:{label}@{topics}" for label in (what.partition("@")[0], "*") for topics in "*>"}
    return not client.scopes or not wide.isdisjoint(client.scopes)


def not_shown(client: Client, parts: dict[str, str]) -> str:
    """One line for those parts that we lack the scope for; empty if there is none."""
    missing = [f"{part} ({scope})" for part, scope in parts.items() if not allows(client, scope)]
    return f"not shown, for lack of a scope: {', '.join(missing)}" if missing else ""
