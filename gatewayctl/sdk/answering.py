"""One call that a worker answers: its handler at work, and what it says on the way to the daemon.

What is said is kept until the call has ended, and each reply says how much came before it. So after a lost connection
everything is said again from the beginning, and the daemon leaves out what it has. What was said before a checkpoint
that the daemon has taken is not needed any more.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal, NoReturn

from gateway.v1 import event_service_pb2 as pb

from gatewayctl.sdk.errors import GatewayError
from gatewayctl.sdk.keeping import Mark, Suspended, checkpoint_frame, wait_frame
from gatewayctl.sdk.link import Link, LinkLost
from gatewayctl.sdk.speaking import Speaking

__all__ = ["Call", "CallFailed", "Handler"]

log = logging.getLogger("gatewayctl.worker")

MAX_ANSWER = 2 * 1024 * 1024
"""Longest answer, in bytes of UTF-8."""
GRACE = 5.0
"""Seconds after a call's time in which the daemon takes it back; without a word of it nobody waits any more."""
_LAST_WORD = 1.0
"""Seconds that a program which is to end takes to tell the daemon that its handler has failed."""
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
    state: Mapping[str, Any] | None = field(default=None, hash=False)
    """What the last checkpoint of the execution holds: go on from there, the text before it is said. None where it
    begins. An execution that was triggered with a session state begins with `{"memory": {...}, "paused_at": NODE}`."""
    inputs: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What people said since, by the `node_id` that waited for it ('' without one). The next checkpoint takes it as
    read: what is needed of it belongs into its state."""
    _speaking: Speaking | None = field(default=None, repr=False, compare=False)
    _keep: Callable[[pb.ConnectRequest], Awaitable[None]] | None = field(default=None, repr=False, compare=False)

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

    async def checkpoint(
        self, state: Mapping[str, Any], *, node_id: str = "", at: Literal["start", "complete"] = "complete"
    ) -> None:
        """Keep the state, a JSON object, as what to go on from; it is on disk when this returns.

        It belongs to the text that was yielded before. After a pause, a crash of the daemon or the loss of this worker
        another call brings it as `state`. Here an execution can be paused: then this raises Suspended, which the
        handler lets pass. `node_id` names the step, and `at` says whether that begins or is complete. InvalidArgument
        for what is no JSON, LimitExceeded for too much of it; GatewayError where the daemon is too old to keep it.
        """
        await self._put_down(checkpoint_frame(self.call_id, state, node_id, at))

    async def wait_for_input(
        self, prompt: str, state: Mapping[str, Any], *, node_id: str = "", client_facing: bool = True
    ) -> NoReturn:
        """Ask people, keep the state and let go of the call: raises Suspended, which the handler lets pass.

        When somebody has answered, another call brings the state, and the answer in `inputs[node_id]`. In a chat the
        prompt is said there; who else is asked, `client_input_requested` tells, or for a node that does not face the
        client, which has an id, `node_input_blocked`. Errors as of `checkpoint`; InvalidArgument in a message of
        another agent, LimitExceeded where too many wait already.
        """
        await self._put_down(wait_frame(self.call_id, prompt, state, node_id, client_facing=client_facing))
        raise Suspended

    async def _put_down(self, request: pb.ConnectRequest) -> None:
        if self._keep is None:
            raise RuntimeError("this call was not made by a client")
        await self._keep(request)

    def _voice(self) -> Speaking:
        if self._speaking is None:
            raise RuntimeError("this call was not made by a client")
        return self._speaking


Handler = Callable[[Call], Awaitable[str] | AsyncIterator[str]]
"""An async function that returns the answer, or an async generator that yields it in pieces."""


class Answering:
    """See the module's docstring. `link` gives the connection on which the agent is registered.

    `before`: characters of the answer that the daemon has from another worker. `new_key` makes keys that nobody has.
    """

    def __init__(
        self,
        call: Call,
        handler: Handler,
        link: Callable[[], Awaitable[Link]],
        current: Link | None,
        *,
        before: int,
        new_key: Callable[[], str],
    ) -> None:
        self._call = replace(call, _keep=self._keep)
        self._handler = handler
        self._get_link = link
        self._new_key = new_key
        self._link = current
        self._said: list[str | Mark] = []
        self._size = 0
        self._taken = 0
        self._unsent = ""
        self._offset = before
        self._before = before
        """Characters before what is kept here."""
        self._left = self._done = self._over = False
        self._interrupt: KeyboardInterrupt | None = None
        """With which the handler has ended, and the program is to end."""
        self._error = ""
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Until the daemon has the answer, or does not want it any more. Being cancelled cancels the handler."""
        work = asyncio.get_running_loop().create_task(self._work(), name="handler")
        try:
            async with asyncio.timeout(self._call.timeout + GRACE) as self._until:
                while not await self._send():
                    pass
            if self._left:
                await asyncio.wait((work,), timeout=GRACE)
        except TimeoutError:
            log.warning("call %s has run out of time, and the daemon is away", self._call.call_id)
        finally:
            self._over = True
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            for one in self._said:
                if isinstance(one, Mark):
                    one.is_over(left=self._left)
        if self._interrupt is not None:
            raise self._interrupt

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
        except Suspended:
            if not self._left:
                self._failed()
        except CallFailed as failure:
            self._error = str(failure)[:4096] or "The agent gave up."
        except BaseException as error:  # the boundary of somebody's handler: the user hears that it failed, the log why
            if self._over or isinstance(error, GeneratorExit):
                raise
            if not self._left:  # else it may have been told so in a task of its own, which makes a group of it
                self._failed()
            if isinstance(error, KeyboardInterrupt):
                self._interrupt = error
                self._until.reschedule(asyncio.get_running_loop().time() + _LAST_WORD)
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

    async def _keep(self, request: pb.ConnectRequest) -> None:
        if self._left:
            raise Suspended
        mark = Mark(request, self._new_key())
        self._said.append(mark)
        self._news.set()
        if await asyncio.shield(mark.done):
            raise Suspended

    def _gather(self) -> Mark | None:
        """Make of what was said what is to be sent, up to a mark; that one, if it is next."""
        texts: list[str] = []
        mark = None
        for one in islice(self._said, self._taken, None):
            if isinstance(one, Mark):
                mark = one
                break
            texts.append(one)
        self._taken += len(texts)
        self._unsent += "".join(texts)
        return None if self._unsent else mark

    async def _put(self, mark: Mark, link: Link) -> bool:
        """Put down what the call goes on from; whether that was its end."""
        try:
            over = await mark.put(link)
        except LinkLost:
            return False
        self._left = mark.left
        if not over:
            del self._said[: self._taken + 1]
            self._taken, self._before = 0, self._offset
        return over

    async def _send(self) -> bool:
        """Say what is new; whether it was the end."""
        link = await self._get_link()
        if (
            link is not self._link
        ):  # say all of it; nothing but the call's id, if nothing is said yet: is it still open?
            self._link, self._taken, self._unsent, self._offset = link, 0, "", self._before
        elif self._taken == len(self._said) and not self._unsent and not self._done:
            self._news.clear()
            await self._news.wait()
            return False
        if (mark := self._gather()) is not None:
            return await self._put(mark, link)
        done = self._done and self._taken == len(self._said)
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
