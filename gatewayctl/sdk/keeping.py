"""What a handler keeps of its call, and its leaving: the requests that say so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Literal

from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import execution_pb2

from gatewayctl.sdk.errors import Cancelled, GatewayError, InvalidArgument, NotFound
from gatewayctl.sdk.link import Link

__all__ = ["Mark", "Suspended", "checkpoint_frame", "wait_frame"]

FEATURE = "worker_checkpoints"
"""How a daemon says that it keeps what workers put down."""
_PLACES = {"start": execution_pb2.CHECKPOINT_KIND_START, "complete": execution_pb2.CHECKPOINT_KIND_COMPLETE}


class Suspended(BaseException):
    """The execution has left here; another call goes on from its last checkpoint. A handler lets it pass."""


class Mark:
    """One request, at its place in the answer. `done` says whether the execution has left with it, or why not."""

    def __init__(self, request: pb.ConnectRequest, key: str) -> None:
        """`key` is what the daemon knows it by when it is said again."""
        self._request = request
        getattr(request, request.WhichOneof("frame") or "").idempotency_key = key
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def put(self, link: Link) -> bool:
        """Say it there; whether that is the end of the call. LinkLost leaves it to be said again."""
        if FEATURE not in link.features:
            version = link.welcome.server_version or "of an older version"
            what = f"the daemon (gatewayd {version}) keeps no checkpoints of workers: it has to be updated"
            self.fail(GatewayError(what, code=12, metadata={"feature": FEATURE}))
            return False
        request = pb.ConnectRequest()
        request.CopyFrom(self._request)  # each link gives it an id of its own
        try:
            left = (await link.request(request)).left
        except NotFound:
            return True
        except GatewayError as error:
            self.fail(error)
            return False
        if not self.done.done():
            self.done.set_result(left)
        return left

    def fail(self, error: GatewayError) -> None:
        """It comes to nothing; harmless once it is done."""
        if not self.done.done():
            self.done.set_exception(error)

    def is_over(self, *, left: bool) -> None:
        """The call is over without it; harmless once it is done."""
        if left and not self.done.done():
            self.done.set_result(True)
        self.fail(Cancelled("the call is over", code=1, reason="CANCELLED"))

    @property
    def left(self) -> bool:
        """Whether the execution has left with it."""
        return self.done.done() and not self.done.cancelled() and not self.done.exception() and self.done.result()


def checkpoint_frame(
    call_id: str, state: Mapping[str, Any], node_id: str, at: Literal["start", "complete"]
) -> pb.ConnectRequest:
    """InvalidArgument for what is no JSON object."""
    if at not in _PLACES:
        raise InvalidArgument(f"at: {at!r} is neither 'start' nor 'complete'", code=3, reason="INVALID_ARGUMENT")
    saved = pb.SaveCheckpoint(call_id=call_id, state=_json(state), node_id=node_id, at=_PLACES[at])
    return pb.ConnectRequest(save_checkpoint=saved)


def wait_frame(
    call_id: str, prompt: str, state: Mapping[str, Any], node_id: str, *, client_facing: bool
) -> pb.ConnectRequest:
    """InvalidArgument for what is no JSON object."""
    wait = pb.WaitForInput(
        call_id=call_id,
        prompt=prompt,
        state=_json(state),
        node_id=node_id,
        internal=not client_facing,
    )
    return pb.ConnectRequest(wait_for_input=wait)


def _json(state: Mapping[str, Any]) -> str:
    try:
        if not isinstance(state, Mapping):
            raise TypeError(f"{type(state).__name__} is no mapping")
        text = json.dumps(dict(state), ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        what = f"the state of a checkpoint is not a JSON object: {error}"
        raise InvalidArgument(what, code=3, reason="INVALID_ARGUMENT") from None
    return text
