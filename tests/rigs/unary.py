"""One call without a client around it, so that its first error is the one that is seen."""

import asyncio
from typing import Any

import grpc

from gatewayctl.client import GatewayError
from gatewayctl.sdk.errors import from_rpc


async def call(target: str, method: str, token: str = "") -> GatewayError | None:
    """The error of an empty call, whatever its kind; None when it is answered."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    async with grpc.aio.insecure_channel(target, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        # On the wire a unary call is a stream of one; what the server makes of it is the same.
        answers: Any = channel.unary_stream(method)(b"", metadata=metadata)
        try:
            async with asyncio.timeout(60):
                await answers.read()
            if answers.done():
                await answers.wait_for_connection()
        except grpc.RpcError as error:
            return from_rpc(error)
    return None
