"""A message to an agent and its answer, as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import execution_pb2

from gatewayctl.plain import enum_name
from gatewayctl.sdk.asked import Asked
from gatewayctl.sdk.conversation import Conversation
from gatewayctl.sdk.errors import ExecutionFailed, GatewayError, from_frame
from gatewayctl.system import Clock

__all__ = ["Answer", "Reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What an agent has answered."""

    content: str
    execution_id: str
    message_id: str
    """In the ledger; `gatewayctl trace` takes it."""
    state: str
    """`succeeded`."""


class Answer:
    """The text of an answer while it comes: `async for text in answer`, then `answer.reply`.

    `async for` yields only new text, each character once, whatever happened to the connection in between.
    """

    def __init__(self, conversation: Conversation, send: pb.Send, clock: Clock, timeout: float | None) -> None:
        self.reply: Reply | None = None
        """The whole answer, once it is there."""
        self._asked = Asked(conversation, pb.ConnectRequest(send=send), clock, timeout)
        self._text = ""
        self._taken = 0
        self._error: GatewayError | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def execution_id(self) -> str:
        """What answers; empty before the daemon has accepted it."""
        return self._asked.execution_id

    @property
    def message_id(self) -> str:
        """In the ledger; empty before the daemon has accepted it."""
        return self._asked.message_id

    def begin(self, start: Callable[..., asyncio.Task[None]]) -> Answer:
        """Send it, in a task of the client's."""
        self._task = start(self._run(), "answer")
        return self

    def abandon(self) -> None:
        """Stop waiting. The execution goes on."""
        if self._task is not None:
            self._task.cancel()

    async def accepted(self) -> str:
        """Wait until the daemon has the message on disk; the id of the execution that will answer."""
        while not self.execution_id and self._error is None and self.reply is None:
            await self._wait()
        if self._error is not None and not self.execution_id:
            raise self._error
        return self.execution_id

    async def wait(self) -> Reply:
        """Wait for the whole answer. GatewayError if there is none."""
        try:
            while self.reply is None and self._error is None:
                await self._wait()
        except asyncio.CancelledError:
            self.abandon()
            raise
        if self._error is not None:
            raise self._error
        assert self.reply is not None
        return self.reply

    async def over(self) -> None:
        """Wait until there is nothing to wait for any more, whatever it came to."""
        while self.reply is None and self._error is None:
            await self._wait()

    def __aiter__(self) -> Answer:
        return self

    async def __anext__(self) -> str:
        while True:
            if len(self._text) > self._taken:
                text = self._text[self._taken :]
                self._taken = len(self._text)
                return text
            if self._error is not None:
                raise self._error
            if self.reply is not None:
                raise StopAsyncIteration
            await self._wait()

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def _run(self) -> None:
        try:
            await self._asked.replies(self._on_reply, self._news.set)
        except TimeoutError:
            self._error = self._asked.late()
        except GatewayError as error:
            if self.execution_id:
                error.metadata.setdefault("execution_id", self.execution_id)
            self._error = error
        except asyncio.CancelledError:
            self._error = GatewayError("nobody waits for this answer any more", code=1)
            raise
        finally:
            self._news.set()

    def _on_reply(self, reply: pb.Reply) -> None:
        if not reply.final:
            have = len(self._text)
            # Text that was missed while there was no connection comes with the final reply.
            if reply.offset <= have < reply.offset + len(reply.content):
                self._text += reply.content[have - reply.offset :]
        else:
            self._final(reply)
        self._news.set()

    def _final(self, reply: pb.Reply) -> None:
        if reply.HasField("error"):
            self._error = from_frame(reply.error)
        elif reply.state in (execution_pb2.EXECUTION_STATE_RUNNING, execution_pb2.EXECUTION_STATE_QUEUED):
            self._error = self._asked.late("the agent has not answered in time; it goes on")
        elif reply.state == execution_pb2.EXECUTION_STATE_FAILED:
            self._error = ExecutionFailed("the agent has failed", code=10, reason="EXECUTION_FAILED")
        else:
            state = enum_name(execution_pb2.ExecutionState.DESCRIPTOR, reply.state)
            self.reply = Reply(reply.content, reply.execution_id, reply.message_id, state)
            self._text = reply.content if reply.content.startswith(self._text) else self._text
        if self._error is not None:
            self._error.metadata.setdefault("execution_id", reply.execution_id)
