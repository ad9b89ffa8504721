"""An agent in Python: it answers from a table, streams its words, and tells of its work.

    agents:
      oracle:
        class: oracle:Oracle
        options: {answers: {weather: It will rain.}, pause: 0}
        timeout: 10s

The file has to be on Python's path: installed beside gatewayd, or in a folder that PYTHONPATH names.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from gatewayd.agents.base import AgentContext, AgentFailed, Output, TextOutput, Turn


class Oracle:
    """One object serves all turns, several at once: what belongs to a turn stays in `run`."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        """The factory: the agent's name and its options. A ValueError here is an error of the configuration."""
        self.name = name
        self.answers = dict(options["answers"])
        self.pause = float(options.get("pause", 0))
        if unknown := set(options) - {"answers", "pause"}:
            raise ValueError(f"unknown options: {', '.join(sorted(unknown))}")

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        """One turn. Cancelling it, and its deadline, come as CancelledError at an await: let it pass."""
        ctx.emit_custom("oracle.asked", {"words": len(turn.text.split()), "turns_before": len(turn.history)})
        found = [word for word in turn.text.lower().strip("?!. ").split() if word in self.answers]
        if not found:
            raise AgentFailed("I know nothing of that.")
        for number, word in enumerate(self.answers[found[0]].split()):
            if number > 0:
                await ctx.clock.sleep(self.pause)
            yield TextOutput(f" {word}" if number > 0 else word)
