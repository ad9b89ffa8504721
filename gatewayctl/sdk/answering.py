"""One call that a worker answers: its handler at work, and what it says on the way to the daemon.

What is said is kept until the call has ended, and each reply says how much came before it. So after a lost connection
everything is said again from the beginning, and the daemon leaves out what it has.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.v1 import event_service_pb2 as pb

from gatewayctl.sdk.errors import GatewayError
from gatewayctl.sdk.link import Link, LinkLost
from gatewayctl.sdk.speaking import Speaking

__all__ = ["Call", "CallFailed", "Handler"]

log = logging.getLogger("gatewayctl.worker")

MAX_ANSWER = 2 * 1024 * 1024
"""Longest answer, in bytes of UTF-8."""
GRACE = 5.0
"""Seconds after a call's time in which the daemon takes it back; without a word of it nobody waits any more."""
MAX_PIECE = 64 * 1024
"""Characters of one reply."""


class CallFailed(Exception):
    """For a handler to raise: the call cannot be answered. The text is told to the user."""


@dataclass(frozen=True, slots=True)
class Call:
    """What an agent is asked."""

    call_id: str
    agent: str
    execution_id: str
    session_id: str
    """The conversation; its turns come one at a time."""
    text: str
    principal: str
    """Who asks."""
    channel: str
    """Where the answer goes; empty for a client of the daemon."""
    timeout: float
    """Seconds that were left when the call came; after them it is cancelled."""
    history: tuple[tuple[str, str], ...]
    """The conversation before, oldest first, as (`user` or `agent`, text); only if it was asked for."""
    topic: str = ""
    """What it was published about, as `TYPE/SOURCE`: nobody waits for what the handler returns. '' for a question."""
    sender: str = ""
    """The agent that sent or published it, as `AGENT/KEY`; '' if no agent did."""
    data_type: str = ""
    """The type of the message, where `text` is the JSON of an object; '' for text."""
    traceparent: str = ""
    """The trace that the answer is a part of, as W3C Trace Context has it; '' without one."""
    _speaking: Speaking | None = field(default=None, repr=False, compare=False)

    async def send(self, agent: str, text: str, *, key: str = "", timeout: float | None = None) -> str:
        """Ask another agent, as part of this execution; its reply. `key` names the instance, `timeout` is in seconds.

        It takes the scope `agents.send:AGENT`. NotFound, Unavailable, DeadlineExceeded; GatewayError with the reason
        CALL_CYCLE where that agent waits for this one. Unavailable, too, where the connection is lost: that takes the
        message back, which may have been handled. What is still asked when the call ends is taken back.
        """
        return await self._voice().send(self.call_id, agent, text, key=key, timeout=timeout)

    async def publish(self, topic: str, message: str | Mapping[str, Any], *, data_type: str = "") -> int:
        """Publish on a topic, as part of this execution; how many agents will handle it."""
        return await self._voice().publish(self.call_id, topic, message, data_type)

    def _voice(self) -> Speaking:
        if self._speaking is None:
            raise RuntimeError("this call was not made by a client")
        return self._speaking


Handler = Callable[[Call], Awaitable[str] | AsyncIterator[str]]
"""An async function that returns the answer, or an async generator that yields it in pieces."""


class Answering:
    """See the module's docstring. `link` gives the connection on which the agent is registered."""

    def __init__(self, call: Call, handler: Handler, link: Callable[[], Awaitable[Link]], current: Link | None) -> None:
        self._call = call
        self._handler = handler
        self._get_link = link
        self._link = current
        self._said: list[str] = []
        self._size = 0
        self._taken = 0
        self._unsent = ""
        self._offset = 0
        self._done = False
        self._error = ""
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Until the daemon has the answer, or does not want it any more. Being cancelled cancels the handler."""
        work = asyncio.get_running_loop().create_task(self._work(), name="handler")
        try:
            async with asyncio.timeout(self._call.timeout + GRACE):
                while not await self._send():
                    pass
        except TimeoutError:
            log.warning("call %s has run out of time, and the daemon is away", self._call.call_id)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def wake(self) -> None:
        """The agent is registered on another connection: say everything again there."""
        self._news.set()

    async def _work(self) -> None:
        try:
            answer = self._handler(self._call)
            if isinstance(answer, AsyncIterator):
                async for piece in answer:
                    self._say(piece)
            else:
                self._say(await answer)
        except CallFailed as failure:
            self._error = str(failure)[:4096] or "The agent gave up."
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._failed()  # nobody cancelled it: it waited for something of its own that was cancelled
        except Exception:  # the boundary of somebody's handler: the user hears that it failed, the log why
            self._failed()
        self._done = True
        self._news.set()

    def _failed(self) -> None:
        log.exception("the handler of agent %s failed in call %s", self._call.agent, self._call.call_id)
        self._error = f"Something went wrong inside the agent (call {self._call.call_id})."

    def _say(self, piece: str) -> None:
        if not isinstance(piece, str):
            raise TypeError(f"a handler says text, not {type(piece).__name__}")
        piece = piece.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        self._size += len(piece.encode())
        if self._size > MAX_ANSWER:
            raise CallFailed("The answer is too long.")
        if piece:
            self._said.append(piece)
            self._news.set()

    async def _send(self) -> bool:
        """Say what is new; whether it was the end."""
        link = await self._get_link()
        if (
            link is not self._link
        ):  # say all of it; nothing but the call's id, if nothing is said yet: is it still open?
            self._link, self._taken, self._unsent, self._offset = link, 0, "", 0
        elif self._taken == len(self._said) and not self._unsent and not self._done:
            self._news.clear()
            await self._news.wait()
            return False
        done = self._done
        self._unsent += "".join(self._said[self._taken :])
        self._taken = len(self._said)
        piece = self._unsent[: min(MAX_PIECE, max(1, link.max_message_bytes // 8))]
        last = done and len(piece) == len(self._unsent)
        reply = pb.CallReply(call_id=self._call.call_id, content=piece, offset=self._offset)
        if last:
            reply.final, reply.error = not self._error, self._error
        try:
            await link.request(pb.ConnectRequest(call_reply=reply))
        except LinkLost:
            return False
        except GatewayError as error:
            if error.reason != "NOT_FOUND":
                log.warning("the daemon refused the answer to call %s: %s", self._call.call_id, error)
            return True
        self._unsent = self._unsent[len(piece) :]
        self._offset += len(piece)
        return last


def check_handler(handler: Handler) -> None:
    """Raise TypeError for what can answer no call."""
    forms = (handler, getattr(handler, "__call__", None))  # noqa: B004 - of an object that is called
    if not any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in forms):
        raise TypeError("a handler is an async function that returns text, or an async generator of text")
