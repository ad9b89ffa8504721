"""What a client that polls may call, whatever the door: each as its principal."""

from gatewayd.access.principals import Principal
from gatewayd.core.push import (
    AckCall,
    HeartbeatCall,
    JoinCall,
    LeaveCall,
    PollCall,
    RegisterCall,
    Registered,
    TopicDelivery,
)
from gatewayd.push.members import Client
from gatewayd.push.service import Push
from gatewayd.push.topics import Wish


class PollCalls:
    """One per gateway."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def register(self, principal: Principal, call: RegisterCall) -> Registered:
        return self._push.house.pollers.register(principal, call.client_id)

    async def poll(self, principal: Principal, call: PollCall, *, at_most: float | None = None) -> TopicDelivery:
        """`at_most` are the seconds that the caller can wait."""
        pollers = self._push.house.pollers
        poller = pollers.find(principal, call.token)
        waits = [wait for wait in (call.wait, at_most) if wait is not None]
        return await pollers.poll(poller, min(waits, default=None), call.count)

    async def ack(self, principal: Principal, call: AckCall) -> tuple[int, int]:
        """How many were waiting of those that were handled, and how many come again or are given up."""
        peer = self._client(principal, call.token).peer
        done = await self._push.ack(peer, call.acks) if call.acks else 0
        return done, await self._push.nack(peer, call.nacks) if call.nacks else 0

    async def join(self, principal: Principal, call: JoinCall) -> int:
        """How many deliveries wait on the topic from before."""
        wish = Wish(call.acknowledged, call.status, call.metadata, call.watch_presence)
        client = self._client(principal, call.token)
        return await self._push.join(principal, client, call.topic, wish, create_if_missing=call.create_if_missing)

    async def leave(self, principal: Principal, call: LeaveCall) -> bool:
        """Whether it was on the topic."""
        return await self._push.leave(self._client(principal, call.token).peer, call.topic)

    def heartbeat(self, principal: Principal, call: HeartbeatCall) -> float:
        """Seconds for which the client counts as there."""
        peer = self._client(principal, call.token).peer
        self._push.update_presence(peer, "", call.status, call.metadata, keep=True)
        return self._push.house.clients.offline_timeout

    def _client(self, principal: Principal, token: str) -> Client:
        return self._push.house.pollers.find(principal, token).client
