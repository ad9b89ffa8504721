"""Serving an agent, its end, and serving it again: what one of them hears late is not for the next."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import Call, ClientClosed, NotFound
from gatewayctl.sdk.conversation import Conversation
from gatewayctl.sdk.pace import Tasks
from gatewayctl.sdk.serving import Serving, Worker
from gatewayctl.sdk.speaking import Speaking


class Away:
    """A conversation without a link."""

    new_backoff: Callable[[], object] = object
    new_key: Callable[[], str] = str

    async def link(self) -> None:
        await asyncio.Event().wait()


async def _answer(call: Call) -> str:
    return call.text


async def test_what_has_ended_twice_leaves_the_next_one_its_calls() -> None:
    """A program stops to serve, and hears at the same time that its agent is gone; then it serves it again."""
    tasks, away = Tasks(), cast(Any, Away())
    worker = Worker(lambda _: None)

    def serving() -> Serving:
        conversation, speaking = cast(Conversation, away), cast(Speaking, None)
        return Serving(conversation, pb.RegisterAgent(agent="lookup"), _answer, tasks.start, speaking)

    first, second = serving(), serving()
    worker.begin(first)
    first.end(ClientClosed("not served any more", code=1))
    worker.begin(second)
    first.end(NotFound("there is no agent 'lookup'", code=5))
    worker.feed(pb.ConnectResponse(call=pb.Call(call_id="c", agent="lookup", text="x")))
    assert second.open_calls == 1
    await tasks.stop()
