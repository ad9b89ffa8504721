"""An agent with a goal: it answers a question and says for each answer how well it went.

agents:
  support: {class: responder:Responder, options: {known: [weather, time]}}
goals:
  helpful:
    description: People get an answer that helps them.
    criteria:
      - {id: answered, description: The question was one that we know, target: 80%, weight: 3}
      - {id: reliable, measure: executions, target: 95%}
    constraints:
      - {id: no-secrets, description: No answer holds a password, kind: hard}
entry_points:
  support: {agent: support, goal: helpful}
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from gatewayd.agents.base import AgentContext, AgentFailed, Output, TextOutput, Turn


class Responder:
    """See the module's docstring."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        self.known = frozenset(options["known"])

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        if not turn.text.strip("?! "):
            raise AgentFailed("That was no question.")
        words = turn.text.lower().strip("?!. ").split()
        found = sorted(self.known.intersection(words))
        if ctx.goal is not None:  # without a goal it answers all the same
            known = f"asked for {', '.join(found)}" if found else f"knows nothing of {words[-1]}"
            await ctx.goal.outcome("answered", bool(found), known)
            if "password" in words:
                await ctx.goal.violation("no-secrets", "was asked for a password")
        yield TextOutput(f"This is what I know of {found[0]}." if found else "I do not know.")
