"""The agents that one connection answers for: its registrations, its replies, and the calls on their way to it.

A worker is a client, not a connection: when its connection breaks, the next one of the same client takes up its calls.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Action
from gatewayd.agents.registry import AgentRegistry
from gatewayd.core.event import EventType
from gatewayd.core.frames import Accepted, EndReason
from gatewayd.core.idle import IDLE, queued
from gatewayd.core.workers import (
    Call,
    CallReply,
    CancelCall,
    LeaveRequest,
    RegisterAgent,
    RegistrationEnded,
    UnregisterAgent,
    WorkerFrame,
)


class Serving:
    """Owned by one conversation. `wake` is called when there is something to send, `tell` records an event by agent."""

    __slots__ = (
        "_agents",
        "_frames",
        "_key",
        "_principal",
        "_record",
        "_resumed",
        "_served",
        "_wake",
        "_workers",
    )

    def __init__(
        self,
        *,
        agents: AgentRegistry,
        principal: Principal,
        wake: Callable[[], None],
        tell: Callable[[EventType, str, Mapping[str, object]], None],
    ) -> None:
        self._agents = agents
        self._workers = agents.workers
        self._principal = principal
        self._wake = wake
        self._record = tell
        self._key = (principal.id, "")
        self._resumed = False
        self._served: dict[str, None] = {}
        self._frames: deque[WorkerFrame] = IDLE

    def welcomed(self, client_id: str, *, resumed: bool) -> None:
        """The client is known now; without a resume it is a new process, and its old calls are nobody's."""
        self._key = (self._principal.id, client_id)
        self._resumed = resumed
        if not resumed:
            self._workers.began_anew(self._key)

    def detach(self, reason: EndReason) -> None:
        """The connection is over; UNSUBSCRIBED is a goodbye of the client's own. Safe to call twice."""
        left = reason is EndReason.UNSUBSCRIBED
        (self._workers.left if left else self._workers.lost)(self._key, self._take)
        for agent in sorted(self._served):
            self._gone(agent, "closed" if left else reason.value)
        self._served.clear()
        self._frames = IDLE

    # Out

    @property
    def is_serving(self) -> bool:
        """Whether calls may still come, or some are here: who ends the connection for other reasons waits for them."""
        return bool(self._served) or self._workers.works_on(self._key, "")

    @property
    def have_news(self) -> bool:
        return bool(self._frames)

    def next_frame(self) -> WorkerFrame | None:
        return self._frames.popleft() if self._frames else None

    def _take(self, frame: WorkerFrame) -> None:
        """As the `Tell` of its workers. A call that was taken back before it was sent is never sent."""
        if isinstance(frame, CancelCall):
            for waiting in self._frames:
                if isinstance(waiting, Call) and waiting.call_id == frame.call_id:
                    self._frames.remove(waiting)
                    return
        elif isinstance(frame, RegistrationEnded) and frame.agent in self._served:
            del self._served[frame.agent]
            self._gone(frame.agent, "removed")
        self._frames = queued(self._frames, frame)
        self._wake()

    # Requests

    def begin(self, frame: RegisterAgent | UnregisterAgent | CallReply) -> Accepted:
        """Do what is asked; raises what refuses it."""
        match frame:
            case RegisterAgent():
                return self._register(frame)
            case UnregisterAgent():
                existed = self._workers.unregister(self._key, frame.agent)
                if existed:
                    self._served.pop(frame.agent, None)
                    self._gone(frame.agent, "unregistered")
                return Accepted(frame.request_id, existed=existed)
            case CallReply():
                self._workers.reply(self._key, self._take, frame)
                return Accepted(frame.request_id)

    def keep(self, frame: LeaveRequest, put: Callable[[Accepted], None]) -> Coroutine[None, None, None]:
        """Begin to put down what a call goes on from; raises what refuses it. It is answered when it is on disk."""
        kept = self._workers.keep(self._key, self._take, frame)
        return _answer(frame.request_id, kept, put)

    def _register(self, frame: RegisterAgent) -> Accepted:
        self._principal.require(Action.REGISTER, frame.agent)
        if not self._workers.parting.drains(frame.agent):
            self._agents.check_remote(frame.agent)
        count = self._workers.register(self._key, self._take, frame)
        if frame.agent not in self._served:
            self._served[frame.agent] = None
            data = {"client_id": self._key[1], "kind": "worker", "resumed": self._resumed}
            self._record(EventType.CONNECT, frame.agent, data)
        return Accepted(frame.request_id, count=count)

    def _gone(self, agent: str, reason: str) -> None:
        self._record(EventType.DISCONNECT, agent, {"client_id": self._key[1], "reason": reason})


async def _answer(request_id: str, kept: asyncio.Future[bool], put: Callable[[Accepted], None]) -> None:
    put(Accepted(request_id, left=await asyncio.shield(kept)))
