"""One message on its way to one agent; what the handler sees of it is `MessageContext`."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.errors import GatewayError
from gatewayd.engine.cancellation import CallToken, CancellationToken, Link
from gatewayd.engine.context import Belonging
from gatewayd.engine.lane import Lane

if TYPE_CHECKING:
    from gatewayd.engine.posting import Posting

MAX_DEPTH = 32
"""Handlers that may wait for each other in a row."""
Suspended = tuple[Coroutine[Any, Any, Any], Any]
"""A handler that waits, and what its first step waits for."""


class Call:
    """From its sending to the end of its handler. The waiter, if any, may be answered long before that end."""

    __slots__ = (
        "_engine",
        "_id",
        "_token",
        "begun",
        "belonging",
        "deadline",
        "ended",
        "interrupted",
        "lane",
        "link",
        "message",
        "parent",
        "sender",
        "task",
        "topic",
        "trace",
        "verdict",
        "waiter",
        "watched",
    )

    def __init__(  # noqa: PLR0917 - by position, since one is made for every message
        self,
        engine: "Posting",
        lane: Lane,
        message: object,
        message_id: str,
        sender: AgentId | None,
        topic: TopicId | None,
        deadline: float,
        belonging: Belonging,
        trace: str,
        parent: "Call | None",
        waiter: asyncio.Future[Any] | None,
    ) -> None:
        self._engine = engine
        self.lane = lane
        self.message = message
        self._id = message_id
        self.sender = sender
        self.topic = topic
        self.deadline = deadline
        self.belonging = belonging
        self.trace = trace
        self.parent = parent
        """The call whose handler sent this one."""
        self.waiter = waiter
        """The caller's; None for a published message."""
        self.begun = False
        self.ended = False
        self.watched = 0
        """Under which number its deadline is watched, 0 if it is not; one that ends in its first step never is."""
        self.verdict: GatewayError | None = None
        """Why nobody wants it any more; from then on the handler only tidies up."""
        self.interrupted = False
        """Whether the task of its handler was cancelled for it."""
        self.task: asyncio.Task[Any] | None = None
        """The one that its handler waits in; None while it is not suspended."""
        self.link: Link | None = None
        self._token: CancellationToken | None = None

    @property
    def agent(self) -> AgentId:
        return self.lane.id

    @property
    def message_id(self) -> str:
        # An id costs as much as half a call, and most handlers never ask for it.
        if not self._id:
            self._id = self._engine.new_id()
        return self._id

    @property
    def is_rpc(self) -> bool:
        return self.waiter is not None

    @property
    def session_id(self) -> str:
        return self.belonging.session_id

    @property
    def cancellation_token(self) -> CancellationToken:
        if self._token is None:
            self._token = CallToken(self.noticed)
            if self.verdict is not None:
                self._token.cancel()
        return self._token

    def noticed(self) -> None:
        """The handler has seen that it is to end."""
        if self.link is not None:
            self.link.acknowledge()

    def cancel_token(self) -> None:
        """Tell the handler's token, if it has asked for one."""
        if self._token is not None:
            self._token.cancel()

    @property
    def depth(self) -> int:
        """Through how many handlers that wait for each other it came; 1 for a call that no handler sent."""
        depth, parent = 1, self.parent
        while parent is not None:
            depth, parent = depth + 1, parent.parent
        return depth

    def comes_from(self, lane: Lane) -> bool:
        """Whether a handler of that lane waits, through others, for this one."""
        parent = self.parent
        while parent is not None:
            if parent.lane is lane and not parent.ended:
                return True
            parent = parent.parent
        return False

    def stays_with(self, leaving: Lane) -> bool:
        """Whether it is for the leaving instance, and not for the one that follows.

        One leaving instance asks another, or itself: that one may wait for it, and must not for what comes after it.
        """
        parent = self.parent if leaving.running and self.waiter is not None else None
        while parent is not None:
            if parent.lane.leaving and not parent.ended:
                return True
            parent = parent.parent
        return False

    async def send(
        self,
        message: object,
        recipient: AgentId,
        *,
        timeout: float | None = None,
        message_id: str = "",
        cancellation_token: CancellationToken | None = None,
        idempotency_key: str = "",
    ) -> Any:
        """See `MessageContext.send`."""
        return await self._engine.send(
            message,
            recipient,
            sender=self.lane.id,
            timeout=timeout,
            message_id=message_id,
            cancellation_token=cancellation_token,
            idempotency_key=idempotency_key,
            belonging=self.belonging.sent(self.lane.id, recipient, message),
            within=self,
        )

    async def publish(
        self,
        message: object,
        topic: TopicId,
        *,
        timeout: float | None = None,
        message_id: str = "",
        cancellation_token: CancellationToken | None = None,
    ) -> int:
        """See `MessageContext.publish`."""
        return await self._engine.publish(
            message,
            topic,
            sender=self.lane.id,
            timeout=timeout,
            message_id=message_id,
            cancellation_token=cancellation_token,
            belonging=self.belonging.sent(self.lane.id, topic, message),
            traceparent=self.trace,
        )
