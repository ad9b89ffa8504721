"""The sends and triggers of one connection that wait for their reply.

A reply is never only on the stream: the execution's row holds the answer, so a connection that comes back finds what
it waited for, whether the execution still runs or has ended.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gatewayd.core.checkpoint import Question
from gatewayd.core.clock import Clock
from gatewayd.core.errors import Cancelled, DeadlineExceeded, ExecutionFailed, GatewayError, NotFound, Unavailable
from gatewayd.core.frames import Reply, Send
from gatewayd.core.value import value
from gatewayd.core.work import Execution, ExecutionState
from gatewayd.routing.router import Caller, Router, Submitted
from gatewayd.runtime.live import LiveExecution, Outcome
from gatewayd.storage.base import Store


@value(frozen=True, slots=True)
class Waiting:
    """A send or a trigger whose final reply has not been given; what a lost connection leaves to its successor."""

    request_id: str
    execution_id: str
    message_id: str
    partial_replies: bool
    deadline: float
    """By the monotonic clock; 0 means as long as the agent may take."""


class Sends:
    """Awaits executions on behalf of clients."""

    def __init__(self, *, router: Router, store: Store, clock: Clock) -> None:
        self._router = router
        self._store = store
        self._clock = clock

    async def submit(self, send: Send, caller: Caller) -> tuple[Submitted, Waiting]:
        """Have it accepted; returns at commit."""
        submitted = await self._router.accept_send(send, caller)
        deadline = self._clock.monotonic() + send.timeout if send.timeout else 0.0
        accepted = submitted.accepted
        return submitted, Waiting(
            send.request_id, accepted.execution_id, accepted.message_id, send.partial_replies, deadline
        )

    async def question(self, waiting: Waiting, live: LiveExecution) -> Question | None:
        """What it asks its client for, once it does; None once it has ended, or the time of the request is over."""
        asked = live.asks()
        either: tuple[asyncio.Future[Any], ...] = (live.done, asked)
        with suppress(TimeoutError):
            async with self._clock.timeout(self._left(waiting)):
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return asked.result() if asked.done() and not live.done.done() else None

    async def reply(self, waiting: Waiting, put: Callable[[Reply], None], live: LiveExecution | None = None) -> Reply:
        """The final reply; partial ones are handed to `put` before. `live` saves looking for it."""
        live = live or await self._router.runtime.watched(waiting.execution_id)
        if live is None:
            return await self._stored(waiting)

        def on_piece(piece: str, offset: int) -> None:
            put(Reply(waiting.request_id, waiting.execution_id, waiting.message_id, piece, final=False, offset=offset))

        if waiting.partial_replies:
            live.listen(on_piece)
        try:
            return await self._await(waiting, live)
        finally:
            live.unlisten(on_piece)

    async def _await(self, waiting: Waiting, live: LiveExecution) -> Reply:
        try:
            async with self._clock.timeout(self._left(waiting)):
                outcome = await _shielded(live)
        except TimeoutError:
            return await self._late(waiting)
        error = failure(outcome.state, outcome.error, outcome.reason)
        return _final(waiting, outcome.output, outcome.state, error, outcome.reason)

    def _left(self, waiting: Waiting) -> float | None:
        return max(0.0, waiting.deadline - self._clock.monotonic()) if waiting.deadline else None

    async def _late(self, waiting: Waiting) -> Reply:
        """Its time is over. It may have ended, or left, meanwhile: the row says."""
        execution = await self._store.get_execution(waiting.execution_id)
        if execution is None or execution.state.terminal:
            return self._from_row(waiting, execution)
        error = DeadlineExceeded(
            f"no reply in time; execution {waiting.execution_id} goes on, and keeps its answer",
            metadata={"execution_id": waiting.execution_id},
        )
        return _final(waiting, "", execution.state, error, execution.reason)

    async def _stored(self, waiting: Waiting) -> Reply:
        return self._from_row(waiting, await self._store.get_execution(waiting.execution_id))

    def _from_row(self, waiting: Waiting, execution: Execution | None) -> Reply:
        if execution is None:
            return _final(waiting, "", None, NotFound(f"execution {waiting.execution_id} is no longer kept"))
        return stored_reply(waiting, execution)


def stored_reply(waiting: Waiting, execution: Execution) -> Reply:
    """The final reply from an execution's row."""
    error = failure(execution.state, execution.error, execution.reason)
    return _final(waiting, execution.output, execution.state, error, execution.reason)


def failure(state: ExecutionState, error: str, reason: str) -> GatewayError | None:
    """What an execution that did not succeed means to its caller."""
    if state is ExecutionState.SUCCEEDED:
        return None
    if state is ExecutionState.FAILED:
        return Unavailable(error) if reason == Unavailable.reason else ExecutionFailed(error)
    if state is ExecutionState.CANCELLED:
        return Cancelled(reason or "the execution was cancelled")
    return DeadlineExceeded(f"the execution is {state.value}: {reason}" if reason else f"it is {state.value}")


def _final(
    waiting: Waiting, content: str, state: ExecutionState | None, error: GatewayError | None, reason: str = ""
) -> Reply:
    return Reply(
        waiting.request_id,
        waiting.execution_id,
        waiting.message_id,
        content,
        final=True,
        state=state,
        error=error,
        reason=reason,
    )


async def _shielded(live: LiveExecution) -> Outcome:
    """Wait for the end without owning it: many may wait, and one that gives up cancels nothing."""
    return await asyncio.shield(live.done)
