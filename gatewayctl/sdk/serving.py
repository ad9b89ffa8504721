"""`client.serve_agent`: being a worker, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Protocol

from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import session_pb2

from gatewayctl.plain import enum_name
from gatewayctl.sdk.answering import Answering, Call, Handler, check_handler
from gatewayctl.sdk.conversation import Conversation
from gatewayctl.sdk.errors import (
    ClientClosed,
    GatewayError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    from_frame,
)
from gatewayctl.sdk.link import Link, LinkLost
from gatewayctl.sdk.messages import Calls, Messages
from gatewayctl.sdk.pace import Tasks
from gatewayctl.sdk.speaking import Speaking

__all__ = ["Serving"]

Start = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Serving:
    """One agent that this client answers for: `async with client.serve_agent("lookup", answer) as serving: ...`

    Entering waits until the daemon has accepted it; leaving takes no more calls and answers those that are here. `wait`
    returns never, or raises why it is over.
    """

    def __init__(
        self,
        conversation: Conversation,
        request: pb.RegisterAgent,
        handler: Handler,
        start: Start,
        speaking: Speaking,
    ) -> None:
        self._speaking = speaking
        self.agent = request.agent
        self.connects = 0
        """How often it was registered."""
        self._conversation = conversation
        self._request = request
        self._handler = handler
        self._start = start
        self._calls: dict[str, tuple[Answering, asyncio.Task[None]]] = {}
        self._link: Link | None = None
        self._error: GatewayError | None = None
        self._changed = asyncio.Event()
        self._stopping = False
        self._forget: Callable[[], object] = bool
        self._task: asyncio.Task[None] | None = None

    def begin(self, forget: Callable[[], object]) -> None:
        """Keep it registered from now on; `forget` is called when it is over."""
        self._forget = forget
        self._task = self._start(self.run(), f"serving {self.agent}")

    async def __aenter__(self) -> Serving:
        await self.registered()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._error is None:
            await self.stop()

    @property
    def open_calls(self) -> int:
        """Calls that are being answered."""
        return len(self._calls)

    async def registered(self) -> Link:
        """The connection on which it is registered, waiting for it if need be. GatewayError once none will come."""
        while True:
            if self._error is not None:
                raise self._error
            if self._link is not None and not self._link.lost:
                return self._link
            self._changed.clear()
            await self._changed.wait()

    async def wait(self) -> None:
        """Until it is over; raises why: PermissionDenied, ClientClosed, …

        NotFound or InvalidArgument also when a reload took the agent away from its workers, and nothing needs it any
        more: serve it again when it is back.
        """
        while self._error is None:
            self._changed.clear()
            await self._changed.wait()
        raise self._error

    async def stop(self) -> None:
        """Take no more calls, and return when those that are here are answered, or have run out of time."""
        self._stopping = True
        if self._link is not None and not self._link.lost:
            with contextlib.suppress(LinkLost):  # `run` registers it again only for the calls that are here
                await self._unregister(self._link)
        await self._end_behind_calls(ClientClosed(f"agent {self.agent} is not served any more", code=1))

    async def run(self) -> None:
        """Keep it registered until cancelled, or until the daemon refuses it."""
        backoff = self._conversation.new_backoff()
        try:
            while self._error is None:
                link = await self._conversation.link()
                try:
                    if not self._stopping or self._calls:
                        await link.request(pb.ConnectRequest(register_agent=self._request))
                        self._registered(link)
                        backoff.reset()
                    if self._stopping and self._calls:
                        await self._unregister(link)
                    await link.gone.wait()
                except LinkLost:
                    continue
                except (PermissionDenied, NotFound, InvalidArgument) as error:
                    self.end(error)
                except GatewayError as error:
                    await self._conversation.pause(backoff.next(error.retry_after))
        except GatewayError as error:  # the daemon will not have this client any more
            self.end(error)

    def parted(self, error: GatewayError) -> None:
        """The daemon took the agent away; of its calls only those are here that have just been answered."""
        self._start(self._end_behind_calls(error), f"end of serving {self.agent}")

    async def _end_behind_calls(self, error: GatewayError) -> None:
        while waiting := [task for _, task in self._calls.values()]:
            await asyncio.wait(waiting)
        self.end(error)

    def end(self, error: GatewayError) -> None:
        """It is over: whoever waits gets the error, and what is being answered is dropped."""
        if self._error is not None:
            return
        self._error = error
        self._forget()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        for _, task in self._calls.values():
            task.cancel()
        self._changed.set()

    def called(self, call: pb.Call) -> None:
        """Take a call; one that is here already is told again, and goes on."""
        if call.call_id in self._calls or self._error is not None:
            return
        made = _call(call, self._speaking)
        answering = Answering(
            made,
            self._handler,
            self.registered,
            self._link,
            before=call.offset,
            new_key=self._conversation.new_key,
        )
        task = self._start(answering.run(), f"call {call.call_id}")
        self._calls[call.call_id] = (answering, task)
        task.add_done_callback(lambda _: self._calls.pop(call.call_id, None))

    def cancelled(self, call_id: str) -> None:
        """Nobody waits for that answer any more."""
        if call_id in self._calls:
            self._calls[call_id][1].cancel()

    async def _unregister(self, link: Link) -> None:
        await link.request(pb.ConnectRequest(unregister_agent=pb.UnregisterAgent(agent=self.agent)))

    def _registered(self, link: Link) -> None:
        self._link = link
        self.connects += 1
        for answering, _ in self._calls.values():
            answering.wake()
        self._changed.set()


class Worker:
    """The agents that one client answers for: where the calls that a link brings go."""

    def __init__(self, others: Callable[[pb.ConnectResponse], None]) -> None:
        """`others` takes the frames that are no calls."""
        self._others = others
        self._agents: dict[str, Serving] = {}

    def feed(self, frame: pb.ConnectResponse) -> None:
        """Take what is for the client itself."""
        if frame.HasField("call"):
            if serving := self._agents.get(frame.call.agent):
                serving.called(frame.call)
        elif frame.HasField("cancel_call"):
            for serving in self._agents.values():
                serving.cancelled(frame.cancel_call.call_id)
        elif frame.HasField("registration_ended"):
            if serving := self._agents.get(frame.registration_ended.agent):
                serving.parted(from_frame(frame.registration_ended.error))
        else:
            self._others(frame)

    def begin(self, serving: Serving) -> None:
        """Keep it registered until it is over. ValueError if the client serves that agent already."""
        if serving.agent in self._agents:
            raise ValueError(f"this client serves the agent {serving.agent!r} already")
        self._agents[serving.agent] = serving
        serving.begin(lambda: self._agents.pop(serving.agent, None))

    def closed(self) -> None:
        """The client is closing."""
        for serving in list(self._agents.values()):
            serving.end(ClientClosed("the client is closed", code=1))


class _Open(Calls, Protocol):
    _worker: Worker
    _conversation: Conversation
    _tasks: Tasks

    def _need_open(self) -> None: ...


class Serves(Messages):
    """A part of `Client`."""

    def serve_agent(
        self: _Open,
        agent: str,
        handler: Handler,
        *,
        max_concurrent: int = 16,
        history: bool = False,
        topics: Sequence[str] = (),
    ) -> Serving:
        """Answer for an agent whose configuration says `remote: true`, from now on: see `Serving`.

        `handler` takes a `Call` and returns the answer, or yields it in pieces; it raises CallFailed to tell the user
        why not, and is cancelled when nobody waits for the answer any more. What it keeps with `call.checkpoint`, a
        call after a pause or a crash brings in `call.state`. Lost connections are its concern only if they last longer
        than the daemon's `reconnect_timeout`. `max_concurrent`: calls at a time, to 1000. With `history` calls bring
        the conversation before. `topics` (`TYPE`, or `BEGINNING*`) are what the agent hears while this worker serves
        it: what is published there comes as a call with a `topic`. The client should have a `client_id` of its own: by
        it a worker that was cut off is known again.
        """
        self._need_open()
        check_handler(handler)
        request = pb.RegisterAgent(
            agent=agent, max_concurrent=max_concurrent, history=history, topics=topics, notify_end=True
        )
        speaking = Speaking(self._conversation, self)
        serving = Serving(self._conversation, request, handler, self._tasks.start, speaking)
        self._worker.begin(serving)
        return serving


def _call(call: pb.Call, speaking: Speaking) -> Call:
    return Call(
        call_id=call.call_id,
        agent=call.agent,
        execution_id=call.execution_id,
        session_id=call.session_id,
        text=call.text,
        principal=call.principal,
        channel=call.channel,
        timeout=call.timeout.ToTimedelta().total_seconds(),
        topic=call.topic,
        sender=call.sender,
        traceparent=call.traceparent,
        data_type=call.data_type,
        state=json.loads(call.state) if call.state else None,
        inputs=dict(call.inputs),
        _speaking=speaking,
        history=tuple((enum_name(session_pb2.SessionRole.DESCRIPTOR, one.role), one.content) for one in call.history),
    )
