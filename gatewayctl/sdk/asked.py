"""A request that an execution answers, over as many connections as it takes.

It has an idempotency key. When the connection is lost it goes out again on the next one; the daemon knows the key, runs
nothing twice and gives the answer of the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.v1 import event_service_pb2 as pb

from gatewayctl.sdk.conversation import Conversation
from gatewayctl.sdk.errors import DeadlineExceeded
from gatewayctl.sdk.link import Link, LinkLost, OnReply
from gatewayctl.system import Clock

__all__ = ["Asked"]

GRACE = 5.0
"""Seconds that the client waits longer than it has asked the daemon to."""


class Asked:
    """One such request: a `send` or a `trigger`. `timeout` in seconds; None as long as the agent may take."""

    def __init__(
        self, conversation: Conversation, frame: pb.ConnectRequest, clock: Clock, timeout: float | None
    ) -> None:
        self.execution_id = ""
        """What answers, once the daemon has said so."""
        self.message_id = ""
        self.duplicate = False
        """What the daemon said of the key when it first accepted it."""
        self._conversation = conversation
        self._frame = frame
        self._clock = clock
        self._until = None if timeout is None else clock.monotonic() + timeout

    async def replies(self, on_reply: OnReply, on_accepted: Callable[[], None] = lambda: None) -> None:
        """Send it, and return when `on_reply` was given the final reply.

        GatewayError where it is refused; TimeoutError when neither the answer nor word of its being late has come.
        """
        async with asyncio.timeout(self._left(GRACE)):
            while True:
                link = await self._conversation.link()
                try:
                    return await self._once(link, on_reply, on_accepted)
                except LinkLost:
                    continue

    def late(self, message: str = "there was no answer in time") -> DeadlineExceeded:
        """The error of one that was not answered in time."""
        facts = {"execution_id": self.execution_id} if self.execution_id else {}
        return DeadlineExceeded(message, code=4, reason="DEADLINE_EXCEEDED", metadata=facts)

    def _left(self, more: float = 0.0) -> float | None:
        return None if self._until is None else max(0.0, self._until - self._clock.monotonic()) + more

    async def _once(self, link: Link, on_reply: OnReply, on_accepted: Callable[[], None]) -> None:
        frame = pb.ConnectRequest()
        frame.CopyFrom(self._frame)
        frame.request_id = link.new_id()
        if (left := self._left()) is not None:
            wanted = frame.trigger if frame.HasField("trigger") else frame.send
            wanted.timeout.FromMilliseconds(max(1, int(left * 1000)))
        done = link.expect_replies(frame.request_id, on_reply)
        try:
            accepted = await link.request(frame)
            self.duplicate = self.duplicate if self.execution_id else accepted.duplicate
            self.execution_id, self.message_id = accepted.execution_id, accepted.message_id
            on_accepted()
            await done
        finally:
            link.forget(frame.request_id)
