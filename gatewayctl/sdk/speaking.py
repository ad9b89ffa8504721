"""What a worker says to other agents from within its calls: on its stream, or by single calls to an older daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from gateway.v1 import agent_service_pb2, event_service_pb2

from gatewayctl.sdk.conversation import Conversation
from gatewayctl.sdk.errors import DeadlineExceeded, Unavailable, from_frame
from gatewayctl.sdk.link import Link, LinkLost
from gatewayctl.sdk.messages import FOREVER, GRACE, Calls, fill_content

FEATURE = "worker_messages"
"""How a daemon says that it takes them on the stream."""


class Speaking:
    """Of one client."""

    def __init__(self, conversation: Conversation, calls: Calls) -> None:
        self._conversation = conversation
        self._calls = calls

    async def send(self, call_id: str, agent: str, text: str, *, key: str, timeout: float | None) -> str:
        """What an agent replies to a message from within a call; `timeout` in seconds, None as long as it may take.

        GatewayError; Unavailable where the connection is lost, which takes the message back.
        """
        link = await self._conversation.link()
        if FEATURE not in link.features:
            return await self._send_alone(call_id, agent, text, key, timeout)
        frame = event_service_pb2.ConnectRequest(request_id=link.new_id())
        send = frame.send
        send.agent, send.text, send.call_id = agent, text, call_id
        if key:
            send.key = key
        if timeout is None:
            return await self._ask(link, frame)
        send.timeout.FromMilliseconds(max(1, int(timeout * 1000)))
        try:
            async with asyncio.timeout(timeout + GRACE):
                return await self._ask(link, frame)
        except TimeoutError:
            raise DeadlineExceeded("there was no answer in time", code=4) from None

    async def publish(self, call_id: str, topic: str, message: str | Mapping[str, Any], data_type: str) -> int:
        """How many agents will handle a message that is published from within a call."""
        link = await self._conversation.link()
        if FEATURE not in link.features:
            request = agent_service_pb2.PublishMessageRequest(topic=topic, data_type=data_type, call_id=call_id)
            request.client_id = self._conversation.client_id
            fill_content(request, message)
            answer = agent_service_pb2.PublishMessageResponse
            return (await self._calls.call("AgentService/PublishMessage", request, answer)).count
        said = event_service_pb2.PublishMessage(topic=topic, data_type=data_type, call_id=call_id)
        fill_content(said, message)
        try:
            return (await link.request(event_service_pb2.ConnectRequest(publish_message=said))).count
        except LinkLost:
            raise _cut_off() from None

    async def _ask(self, link: Link, frame: event_service_pb2.ConnectRequest) -> str:
        replies: list[event_service_pb2.Reply] = []
        done = link.expect_replies(frame.request_id, replies.append)
        try:
            await link.request(frame)
            await done
        except LinkLost:
            raise _cut_off() from None
        finally:
            link.forget(frame.request_id)
        reply = replies[-1]
        if reply.HasField("error"):
            raise from_frame(reply.error)
        return reply.content

    async def _send_alone(self, call_id: str, agent: str, text: str, key: str, timeout: float | None) -> str:
        request = agent_service_pb2.SendMessageRequest(agent=agent, text=text, key=key, call_id=call_id)
        request.client_id = self._conversation.client_id
        if timeout is not None:
            request.timeout.FromMilliseconds(max(1, int(timeout * 1000)))
        limit = FOREVER if timeout is None else timeout + GRACE
        answer = agent_service_pb2.SendMessageResponse
        return (await self._calls.call("AgentService/SendMessage", request, answer, timeout=limit)).content


def _cut_off() -> Unavailable:
    return Unavailable("the connection was lost, and the message with it; it may have been handled", code=14)
