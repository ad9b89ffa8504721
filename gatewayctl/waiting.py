"""What waits in a session from before: executions that somebody else began, or that an earlier command has left.

There is no answer to read on the stream for those, so they are looked at, as `executions watch` does it.
"""

from __future__ import annotations

import asyncio

from gateway.v1 import execution_pb2
from gateway.v1 import runtime_service_pb2 as pb

from gatewayctl.client import Client, DeadlineExceeded, ExecutionFailed, Unavailable
from gatewayctl.questions import Question

__all__ = ["Waiting", "asked_last"]

FIRST, MOST = 0.1, 2.0
"""Seconds between looks: they become fewer."""


class Waiting:
    """The questions of one execution and then its output, as `Dialogue` gives those of an answer."""

    def __init__(self, client: Client, execution_id: str) -> None:
        self._client = client
        self._id = execution_id
        self._shown = ""
        """The checkpoint of the question that was shown last."""
        self._over = False

    async def execution_id(self) -> str:
        """Whose questions they are."""
        return self._id

    def abandon(self) -> None:
        """There is nobody to be told."""

    def __aiter__(self) -> Waiting:
        return self

    async def __anext__(self) -> str | Question:
        if self._over:
            raise StopAsyncIteration
        found = await self._news()
        asked = _asked(found)
        if asked is not None:
            self._shown = asked.id
            return Question(self._id, asked.node_id, asked.prompt)
        self._over = True
        execution = found.execution
        if execution.state != execution_pb2.EXECUTION_STATE_SUCCEEDED:
            why = execution.error or f"cancelled: {execution.reason}"
            raise ExecutionFailed(why, code=10, reason="EXECUTION_FAILED", metadata={"execution_id": self._id})
        return execution.output

    async def moot(self) -> None:
        """Wait until the question that was shown last is out of date: it has ended, or asks something else."""
        await self._news()

    async def _news(self) -> pb.GetExecutionResponse:
        """Look until it has ended, or asks what was not shown yet."""
        wait = FIRST
        while True:
            try:
                found = await _look(self._client, self._id)
            except (Unavailable, DeadlineExceeded):  # a daemon that restarts has not forgotten it
                pass
            else:
                asked = _asked(found)
                if (asked is not None and asked.id != self._shown) or found.execution.HasField("end_time"):
                    return found
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, MOST)


async def asked_last(client: Client, session_id: str) -> str:
    """That of the session's executions whose question is the newest; empty if none waits, or we may not see it."""
    request = pb.ListExecutionsRequest(
        session_id=session_id, states=[execution_pb2.EXECUTION_STATE_INPUT_REQUIRED], page_size=1000
    )
    listed = await client.call("RuntimeService/ListExecutions", request, pb.ListExecutionsResponse)
    newest, last = "", (0, 0)
    for each in listed.executions:
        asked = _asked(await _look(client, each.id))
        if asked is not None and (when := (asked.create_time.seconds, asked.create_time.nanos)) > last:
            newest, last = each.id, when
    return newest


async def _look(client: Client, execution_id: str) -> pb.GetExecutionResponse:
    request = pb.GetExecutionRequest(execution_id=execution_id)
    return await client.call("RuntimeService/GetExecution", request, pb.GetExecutionResponse)


def _asked(found: pb.GetExecutionResponse) -> execution_pb2.Checkpoint | None:
    """The checkpoint with the question that it waits on."""
    waits = found.execution.state == execution_pb2.EXECUTION_STATE_INPUT_REQUIRED
    last = found.checkpoints[-1] if waits and found.checkpoints else None
    return last if last is not None and last.kind == execution_pb2.CHECKPOINT_KIND_WAIT else None
