"""What workers say to other agents from within their calls: by a frame of their stream, or by a call; under one rule.

It is part of the call: what is asked in it and not answered ends with it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from gatewayd.access.principals import Principal
from gatewayd.access.rates import Rates
from gatewayd.access.scopes import Action
from gatewayd.agents.base import Suspended
from gatewayd.agents.calls import OpenCall
from gatewayd.agents.messages import text_of
from gatewayd.agents.registry import AgentRegistry
from gatewayd.core.agents import TopicId
from gatewayd.core.errors import Cancelled, ExecutionFailed, GatewayError
from gatewayd.core.frames import Accepted, Reply, Send
from gatewayd.core.workers import PublishMessage
from gatewayd.runtime.speaking import json_message

log = logging.getLogger("gatewayd.conversation")

MAX_TIMEOUT = 86_400.0
"""Longest time for a reply, in seconds."""
_OVER = "the call from within which it was asked has ended"
_LEFT = "the execution of the call rests, and says nothing until it comes back"


class Speaking:
    """Keeps nothing: two of them with the same `rates` are one. `heard` tells which agents hear a topic."""

    def __init__(self, *, agents: AgentRegistry, heard: Callable[[TopicId], Iterable[str]], rates: Rates) -> None:
        self._agents = agents
        self._heard = heard
        self._rates = rates

    def begin(self, send: Send, principal: Principal, client_id: str) -> OpenCall:
        """The call from within which it is sent; raises, and nothing is sent, if it may not be.

        The call must be with that client of the principal: it may have gone on from one to another.
        `PermissionDenied`, `LimitExceeded` when it is too fast (`gateway.limits.send_rate`), `NotFound` for the call,
        `AgentNotFound`.
        """
        principal.require(Action.SEND, send.agent)
        self._rates.send(principal.id)
        call = self._agents.workers.held((principal.id, client_id), send.call_id)
        self._agents.get(send.agent)
        return call

    async def ask(self, send: Send, call: OpenCall, left: float | None = None) -> str:
        """Send it from within the call of `begin`, and wait for the reply, at most `left` seconds; its text.

        Raises what comes of it instead: `CallCycle`, `DeadlineExceeded`, `ExecutionFailed`, …; `Cancelled` once the
        call has ended.
        """
        allowed = self._agents.get(send.agent).timeout
        timeout = min(send.timeout or allowed, left or allowed, MAX_TIMEOUT)
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        assert call.context is not None, "given with the call"
        if call.over:  # its answer came in one batch with the question
            raise Cancelled(_OVER)
        call.asking.add(task)
        try:
            reply = await call.context.send(send.agent, send.text, key=send.key, timeout=timeout)
            return "" if reply is None else text_of(reply)
        except asyncio.CancelledError:
            if call.over and task.uncancel() == 0:
                raise Cancelled(_OVER) from None
            raise
        except Suspended:
            raise Cancelled(_LEFT) from None
        except GatewayError:
            raise
        except Exception as error:  # the boundary of the other agent's code
            log.exception("asked_agent_failed", extra={"agent": send.agent, "execution": call.execution_id})
            raise ExecutionFailed(f"the agent {send.agent} failed on this message; the log says more") from error
        finally:
            call.asking.discard(task)

    async def answer(self, send: Send, call: OpenCall, put: Callable[[Accepted | Reply], None]) -> None:
        """As `ask`, for a client that is told by frames: both at once, since nothing is written in between."""
        content, failed = "", None
        try:
            content = await self.ask(send, call)
        except GatewayError as error:
            failed = error
        put(Accepted(send.request_id, execution_id=call.execution_id))
        put(Reply(send.request_id, call.execution_id, "", content, final=True, error=failed))

    def begin_publishing(self, message: PublishMessage, principal: Principal, client_id: str) -> OpenCall:
        """As `begin`, for a message about a topic."""
        heard = self._heard(TopicId.parse(message.topic))
        principal.require_all(Action.SEND, heard, f"every agent that hears the topic {message.topic!r}")
        self._rates.send(principal.id)
        return self._agents.workers.held((principal.id, client_id), message.call_id)

    async def publish(self, message: PublishMessage, call: OpenCall) -> int:
        """Publish it from within the call of `begin_publishing`; how many agents will handle it."""
        assert call.context is not None, "given with the call"
        what = json_message(message.data_type, message.text) if message.data_type else message.text
        try:
            return await call.context.publish(message.topic, what)
        except Suspended:
            raise Cancelled(_LEFT) from None

    async def announce(self, message: PublishMessage, call: OpenCall, put: Callable[[Accepted], None]) -> None:
        """As `publish`, for a client that is told by a frame."""
        put(Accepted(message.request_id, count=await self.publish(message, call)))
