"""An agent that workers answer for: programs that registered for it over their connections."""

from collections.abc import AsyncIterator

from gatewayd.agents.base import AgentContext, AgentFailed, Output, TextOutput, Turn
from gatewayd.agents.workers import Workers

MAX_TEXT = 3 * 1024 * 1024
"""Longest text of a call, in bytes: with what comes beside it, it fits into what gRPC takes where nobody says more."""


class RemoteAgent:
    """Hands each turn to a worker, and puts out what comes back. `timeout`: seconds that a turn may take."""

    def __init__(self, name: str, workers: Workers, *, timeout: float) -> None:
        self._name = name
        self._workers = workers
        self._timeout = timeout

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        """See `Agent.run`. Raises `Unavailable` where no worker is there, or the one that answers is lost."""
        if len(turn.text.encode(errors="replace")) > MAX_TEXT:
            raise AgentFailed("The message is too long for this agent.", cause=f"more than {MAX_TEXT} bytes")
        until = ctx.clock.monotonic() + self._timeout
        call = self._workers.ask(self._name, turn, ctx.execution_id, self._timeout, trace=ctx.trace)
        call.context = ctx
        try:
            while (piece := await self._workers.next_piece(call)) is not None:
                yield TextOutput(piece)
        finally:
            late = ctx.clock.monotonic() >= until
            self._workers.end(call, "the time for the answer is over" if late else "the execution was cancelled")
