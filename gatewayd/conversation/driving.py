"""The life of one conversation over any transport: a receive loop and a send loop around it, whoever ends first.

A transport gives a `Link`; what a conversation may take of a client's time and of the gateway's places is decided here,
once for gRPC and WebSocket.
"""

import asyncio
import logging

from gatewayd.access.principals import Principal
from gatewayd.conversation.conversation import Conversation
from gatewayd.conversation.hub import ConversationHub
from gatewayd.conversation.link import Link
from gatewayd.core.clock import Clock
from gatewayd.core.errors import DeadlineExceeded, GatewayError, InvalidArgument, ProtocolViolation, SlowConsumer
from gatewayd.core.frames import EndReason

log = logging.getLogger("gatewayd.conversation")

HELLO_LIMIT = 10.0
"""Seconds in which a stream must have said hello: until then it takes one of `gateway.max_connections` for nobody."""


async def converse(
    hub: ConversationHub,
    principal: Principal,
    peer: str,
    link: Link,
    clock: Clock,
    *,
    traceparent: str = "",
    grace: float = 0.0,
) -> None:
    """Hold one conversation from its opening to its end; raises the error that it ended with.

    `traceparent` is the trace of requests that name none of their own. `grace` is for transports that tell a client's
    end from its loss only a little later, by cancelling us: seconds.
    """
    conversation = await _open(hub, principal, peer, link)
    conversation.traceparent = traceparent
    reason: EndReason | None = EndReason.CONNECTION_LOST
    reader = asyncio.create_task(_read(conversation, link, clock), name="connect: read")
    writing, wake = conversation.writing, conversation.wake
    writing.watched()
    try:
        try:
            while (data := conversation.next_frame()) is not None or not conversation.is_over:
                if data is not None:
                    writing.began = clock.monotonic()
                    await link.write(data)
                    conversation.sent()
                    del data  # of what was sent an idle stream keeps nothing
                if not wake.is_set:
                    await wake.wait()
                if (hold := conversation.hold) > 0:
                    await clock.sleep(hold)
        except link.gone:
            log.debug("write_after_end", extra={"client": conversation.client_id})
        except asyncio.CancelledError:
            if writing.forgive():
                reason = EndReason.SLOW_CONSUMER
                raise SlowConsumer("the client did not read for ten seconds", retry_after=1.0) from None
            raise
        finally:
            reader.cancel()
            (ended,) = await asyncio.gather(reader, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended
        if ended is True:
            await clock.sleep(grace)
            reason = None
    finally:
        await asyncio.shield(hub.leave(conversation, reason))
    if conversation.error is not None:
        raise conversation.error


async def _open(hub: ConversationHub, principal: Principal, peer: str, link: Link) -> Conversation:
    try:
        return hub.open(principal, peer)
    except GatewayError:
        await hub.hearing.out(link)
        raise


async def _read(conversation: Conversation, link: Link, clock: Clock) -> bool:
    """Hand frames over until the client ends the stream; False if it is lost, or an error ends the conversation."""
    try:
        try:
            async with clock.timeout(HELLO_LIMIT):
                going = await _take(conversation, link)
        except TimeoutError:
            raise DeadlineExceeded(f"no hello came within {HELLO_LIMIT:g} s", retry_after=1.0) from None
        while going:
            going = await _take(conversation, link)
    except GatewayError as error:
        conversation.end(error)
        return False
    except link.gone:
        conversation.end(None)
        return False
    except Exception:  # a defect of ours ends the other loop, too, and is told where the stream is held
        conversation.end(None)
        raise
    return True


async def _take(conversation: Conversation, link: Link) -> bool:
    """Hand one frame over; False once the client has ended the stream."""
    try:
        data = await link.read()
    except ProtocolViolation:
        raise
    except InvalidArgument as error:
        conversation.refuse(error)
        return True
    if data is link.end:
        conversation.end(None)
        return False
    await conversation.receive(data)
    return True
