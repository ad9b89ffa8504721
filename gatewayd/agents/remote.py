"""An agent that workers answer for: programs that registered for it over their connections."""

import json
from collections.abc import AsyncIterator

from gatewayd.agents.base import AgentContext, AgentFailed, Output, TextOutput, Turn
from gatewayd.agents.keeping import MAX_CALL, Kept
from gatewayd.agents.workers import Workers

MAX_TEXT = 3 * 1024 * 1024
"""Longest text of a call, in bytes: with what comes beside it, it fits into what gRPC takes where nobody says more."""


class RemoteAgent:
    """Hands each turn to a worker, puts out what comes back, and keeps for it what it goes on from.

    `timeout`: seconds that a turn may take.
    """

    def __init__(self, name: str, workers: Workers, *, timeout: float) -> None:
        self._name = name
        self._workers = workers
        self._timeout = timeout

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        """See `Agent.run`. Raises `Unavailable` where no worker is there, or the one that answers is lost."""
        size = len(turn.text.encode(errors="replace"))
        if size > MAX_TEXT:
            raise AgentFailed("The message is too long for this agent.", cause=f"more than {MAX_TEXT} bytes")
        until = ctx.clock.monotonic() + self._timeout
        kept = _kept(ctx, MAX_CALL - size)
        call = self._workers.ask(self._name, turn, ctx.execution_id, self._timeout, trace=ctx.trace, kept=kept)
        call.context = ctx
        try:
            while (piece := await self._workers.next_piece(call)) is not None:
                if isinstance(piece, str):
                    yield TextOutput(piece)
                else:
                    await piece.carry_out(ctx)
        finally:
            late = ctx.clock.monotonic() >= until
            over = "the execution was cancelled" if call.left_over is None else "the execution has left"
            self._workers.end(call, "the time for the answer is over" if late else over)


def _kept(ctx: AgentContext, room: int) -> Kept | None:
    """What the execution came back with, in at most so many bytes; None where it begins."""
    if ctx.resumed is None:
        return None
    state = json.dumps(dict(ctx.resumed), ensure_ascii=False)
    if len(state.encode()) > room:
        raise AgentFailed("What this agent is to go on from is too large for it.", cause=f"more than {room} bytes")
    return Kept(state, dict(ctx.inputs))
