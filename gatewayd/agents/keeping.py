"""What workers put down of their calls: checkpoints, and that they wait for people.

It stands in the answer at its place, so whoever reads the answer carries it out when all text before it is taken; how
an execution keeps a state, and leaves with it, is the business of its `AgentContext`, as for every agent.
"""

import asyncio
from collections.abc import Mapping

from gatewayd.agents.base import AgentContext, AgentFailed, Suspended
from gatewayd.core.errors import GatewayError, IdConflict, InvalidArgument, LimitExceeded, NotFound
from gatewayd.core.workers import LeaveRequest, SaveCheckpoint

MAX_CALL = 3584 * 1024
"""Bytes of a call's text and state together: with what comes beside them, they fit into one message of gRPC."""


class Mark:
    """One thing that was put down. `done` says whether the execution left with it; it fails where it was refused."""

    __slots__ = ("_frame", "before", "connection", "done", "key", "kind")

    def __init__(self, frame: LeaveRequest, connection: object, before: "Kept | None") -> None:
        self._frame: LeaveRequest | None = frame
        """Until it is carried out: a state that is read takes many times its size."""
        self.key, self.kind = frame.idempotency_key, type(frame)
        self.connection = connection
        """Over which it came; it is answered there."""
        self.before = before
        """What the call goes on from if this is refused."""
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def carry_out(self, ctx: AgentContext) -> None:
        """Raises `Suspended` if the execution leaves with it. What refuses it is told to the worker alone."""
        frame, self._frame = self._frame, None
        if frame is None or self.done.done():  # the call was over before it came to this
            return
        try:
            if isinstance(frame, SaveCheckpoint):
                await ctx.checkpoint(frame.values, node_id=frame.node_id, at=frame.at)
            else:
                facing = not frame.internal
                await ctx.wait_for_input(frame.prompt, frame.values, node_id=frame.node_id, client_facing=facing)
        except Suspended:
            self._end(left=True)
            raise
        except AgentFailed as failure:
            self.fail(InvalidArgument(str(failure)))
        except GatewayError as error:
            self.fail(error)
        else:
            self._end(left=False)

    def fail(self, error: GatewayError) -> None:
        """It comes to nothing; harmless once it is done."""
        if not self.done.done():
            self.done.set_exception(error)

    @property
    def failed(self) -> bool:
        """Whether it came to nothing."""
        return self.done.done() and self.done.exception() is not None

    @property
    def left(self) -> bool:
        """Whether the execution has left with it."""
        return self.done.done() and not self.failed and self.done.result()

    def _end(self, *, left: bool) -> None:
        self.before = None
        if not self.done.done():
            self.done.set_result(left)


class Kept:
    """What a call goes on from: what its execution came back with, or what a worker put down last."""

    __slots__ = ("inputs", "length", "mark", "state")

    def __init__(self, state: str, inputs: Mapping[str, str], length: int = 0, mark: Mark | None = None) -> None:
        self.state = state
        """A JSON object."""
        self.inputs = inputs
        self.length = length
        """Characters of the answer before it."""
        self.mark = mark

    @property
    def is_open(self) -> bool:
        """Whether a worker has put it down, and it is not carried out."""
        return self.mark is not None and not self.mark.done.done()

    @property
    def valid(self) -> "Kept | None":
        """Itself, or what was before it if it was refused."""
        return self.mark.before if self.mark is not None and self.mark.failed else self


def put_down(
    frame: LeaveRequest, connection: object, before: Kept | None, *, call_id: str, text: str, length: int
) -> Kept:
    """What a call goes on from now; `before` itself where the same was put down already. Raises what refuses it.

    `text` is that of the call, `length` what has arrived of its answer, in characters.
    """
    mark = before.mark if before is not None else None
    if before is not None and mark is not None and not mark.failed:
        key = frame.idempotency_key
        if key and key == mark.key:
            if (type(frame), frame.state) != (mark.kind, before.state):
                raise IdConflict(f"the key {key!r} was given with another state of the call", metadata={"key": key})
            mark.connection = connection
            return before
        if before.is_open:
            raise still_open(call_id)
    size = len(frame.state.encode()) + len(text.encode(errors="replace"))
    if size > MAX_CALL:
        raise LimitExceeded(
            f"state and text of the call are {size} bytes large; at most {MAX_CALL} are taken",
            metadata={"limit": "checkpoint_bytes"},
        )
    valid = before.valid if before is not None else None
    return Kept(frame.state, {}, length, Mark(frame, connection, valid))


def still_open(call_id: str) -> InvalidArgument:
    """What was put down last comes first."""
    what = f"what call {call_id} goes on from is not on disk yet: wait for the answer to that"
    return InvalidArgument(what, metadata={"call_id": call_id})


def not_open(call_id: str) -> NotFound:
    """There is no such call for whoever asks."""
    return NotFound(
        f"no call {call_id!r} is open here: it has ended, was cancelled, or is not this client's",
        metadata={"call_id": call_id},
    )
