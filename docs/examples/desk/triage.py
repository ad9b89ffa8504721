"""Who reads the tickets, and the board on which they are put before those who know."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any

from desk.tickets import Finding, Findings, Ticket
from gatewayd.agents.base import AgentContext, AgentFailed, Output, TextOutput, Turn
from gatewayd.engine import HandlerAgent, MessageContext, TopicId, message_handler

WORDS = {"billing": ("money", "refund", "invoice"), "shipping": ("parcel", "delivery", "arrive")}
OTHER = "other"
"""The subject of which nobody here knows anything."""


class Triage:
    """Finds out what a ticket is about, has the board ask around, and sums up what is known."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        if options:
            raise ValueError(f"{name} takes no options")

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        ticket = read(turn.text)
        # The key is the instance: tickets do not wait for each other.
        findings: Findings = await ctx.send("board", ticket, key=str(ticket.number))
        refund = sum(finding.refund for finding in findings.found)
        summary = asdict(ticket) | {
            "says": " ".join(finding.says for finding in findings.found),
            "refund": f"{refund:.2f} €" if refund else "",
        }
        yield TextOutput(json.dumps(summary, ensure_ascii=False))


def read(text: str) -> Ticket:
    """The ticket in a webhook's payload."""
    try:
        given = json.loads(text)
        ticket = Ticket(int(given["ticket"]), str(given["customer"]), str(given.get("order", "")), str(given["text"]))
    except (ValueError, KeyError, TypeError) as error:
        raise AgentFailed("That was no ticket.", cause=f"{type(error).__name__}: {error}") from error
    said = ticket.text.lower()
    ticket.subjects = [name for name, words in WORDS.items() if any(word in said for word in words)] or [OTHER]
    return ticket


class Board(HandlerAgent):
    """One for each ticket: publishes it, and waits until all who heard it have published what they found."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, Finding] = {}
        self.more = asyncio.Condition()

    @message_handler
    async def on_ticket(self, ticket: Ticket, ctx: MessageContext) -> Findings:
        asked = 0
        for subject in ticket.subjects:
            # The source of the topic is my key: so their findings come back to me.
            asked += await ctx.publish(ticket, TopicId(f"tickets.{subject}", self.id.key))
        async with self.more:  # the agent's `timeout` bounds it
            await self.more.wait_for(lambda: len(self.found) >= asked)
        return Findings([self.found[name] for name in sorted(self.found)])

    @message_handler
    async def on_finding(self, finding: Finding, _ctx: MessageContext) -> None:
        async with self.more:
            self.found[finding.by] = finding  # by name: asked again after a crash, nobody counts twice
            self.more.notify_all()
