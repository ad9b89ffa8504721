"""Requests that may be said again without harm, until they are accepted."""

from __future__ import annotations

import asyncio

from gateway.v1 import event_service_pb2 as pb

from gatewayctl.sdk.conversation import Conversation
from gatewayctl.sdk.errors import DeadlineExceeded
from gatewayctl.sdk.link import LinkLost

__all__ = ["late", "repeated"]


async def repeated(conversation: Conversation, frame: pb.ConnectRequest, timeout: float) -> pb.Accepted:
    """The answer to a request, over as many links as it takes. DeadlineExceeded after `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            while True:
                link = await conversation.link()
                request = pb.ConnectRequest()
                request.CopyFrom(frame)
                try:
                    return await link.request(request)
                except LinkLost:
                    continue
    except TimeoutError:
        raise late(timeout) from None


def late(timeout: float) -> DeadlineExceeded:
    """The error of a request without an answer."""
    return DeadlineExceeded(f"the daemon gave no answer within {timeout:g} s", code=4)
