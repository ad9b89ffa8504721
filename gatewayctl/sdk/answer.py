"""A message to an agent and its answer, over as many connections as it takes.

Every send has an idempotency key. When the connection is lost the same send goes out again on the next one; the
daemon knows the key, runs nothing twice and gives the answer of the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import execution_pb2

from gatewayctl.plain import enum_name
from gatewayctl.sdk.conversation import Conversation
from gatewayctl.sdk.errors import DeadlineExceeded, ExecutionFailed, GatewayError, from_frame
from gatewayctl.sdk.link import Link, LinkLost
from gatewayctl.system import Clock

__all__ = ["Answer", "Reply"]

GRACE = 5.0
"""Seconds that the client waits longer than it has asked the daemon to."""


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
        self.execution_id = ""
        self.message_id = ""
        self._conversation = conversation
        self._send = send
        self._clock = clock
        self._until = None if timeout is None else clock.monotonic() + timeout
        self._text = ""
        self._taken = 0
        self._error: GatewayError | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

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
            async with asyncio.timeout(self._left(GRACE)):
                await self._converse()
        except TimeoutError:
            self._error = self._late("there was no answer in time")
        except GatewayError as error:
            if self.execution_id:
                error.metadata.setdefault("execution_id", self.execution_id)
            self._error = error
        except asyncio.CancelledError:
            self._error = GatewayError("nobody waits for this answer any more", code=1)
            raise
        finally:
            self._news.set()

    def _left(self, more: float = 0.0) -> float | None:
        return None if self._until is None else max(0.0, self._until - self._clock.monotonic()) + more

    async def _converse(self) -> None:
        while self.reply is None:
            link = await self._conversation.link()
            try:
                await self._once(link)
            except LinkLost:
                continue

    async def _once(self, link: Link) -> None:
        frame = pb.ConnectRequest(request_id=link.new_id(), send=self._send)
        if (left := self._left()) is not None:
            frame.send.timeout.FromMilliseconds(max(1, int(left * 1000)))
        done = link.expect_replies(frame.request_id, self._on_reply)
        try:
            accepted = await link.request(frame)
            self.execution_id, self.message_id = accepted.execution_id, accepted.message_id
            self._news.set()
            await done
        finally:
            link.forget(frame.request_id)
        if self._error is not None:
            raise self._error

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
            self._error = self._late("the agent has not answered in time; it goes on")
        elif reply.state == execution_pb2.EXECUTION_STATE_FAILED:
            self._error = ExecutionFailed("the agent has failed", code=10, reason="EXECUTION_FAILED")
        else:
            state = enum_name(execution_pb2.ExecutionState.DESCRIPTOR, reply.state)
            self.execution_id = reply.execution_id or self.execution_id
            self.message_id = reply.message_id or self.message_id
            self.reply = Reply(reply.content, self.execution_id, self.message_id, state)
            self._text = reply.content if reply.content.startswith(self._text) else self._text
        if self._error is not None:
            self._error.metadata.setdefault("execution_id", reply.execution_id)

    def _late(self, message: str) -> DeadlineExceeded:
        facts = {"execution_id": self.execution_id} if self.execution_id else {}
        return DeadlineExceeded(message, code=4, reason="DEADLINE_EXCEEDED", metadata=facts)
