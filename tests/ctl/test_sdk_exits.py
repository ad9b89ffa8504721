"""Handlers of workers that end by what is no error: told at once; and an interrupt ends the program."""

import asyncio
from typing import Any

import pytest
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import Call
from gatewayctl.sdk.answering import Answering, Handler
from gatewayctl.sdk.serving import _call


class Odd(BaseException):
    """Neither an error nor the interpreter's own."""


async def _exits(call: Call) -> str:
    raise SystemExit("secret")


async def _odd(call: Call) -> str:
    raise Odd


async def _group(call: Call) -> str:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.wait_for(_odd(call), 60))
    return ""


async def _cancels_itself(call: Call) -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.Event().wait()
    return ""


async def _interrupts(call: Call) -> str:
    raise KeyboardInterrupt


class Link:
    """Takes all replies, or none of them for as long as it is `away`."""

    def __init__(self, *, away: bool = False) -> None:
        self.replies: list[pb.CallReply] = []
        self.features = frozenset[str]()
        self.max_message_bytes = 4 << 20
        self._away = away

    async def request(self, frame: pb.ConnectRequest) -> pb.Accepted:
        if self._away:
            await asyncio.Event().wait()
        self.replies.append(frame.call_reply)
        return pb.Accepted()


def answering(handler: Handler, link: Any) -> Answering:
    told = pb.Call(call_id="c", agent="a", text="t")
    told.timeout.FromSeconds(3600)

    async def current() -> Any:
        return link

    return Answering(_call(told, None), handler, current, link, before=0, new_key=str)  # type: ignore[arg-type]


@pytest.mark.parametrize("handler", [_exits, _odd, _group, _cancels_itself])
async def test_the_user_is_told_at_once(handler: Handler, caplog: pytest.LogCaptureFixture) -> None:
    """Not only when the time of the call is over; the log of the worker says why."""
    link = Link()
    async with asyncio.timeout(60):
        await answering(handler, link).run()
    (reply,) = link.replies
    assert "Something went wrong inside the agent (call c)" in reply.error
    assert "the handler of agent a failed in call c" in caplog.text


@pytest.mark.parametrize("away", [False, True])
def test_an_interrupt_ends_the_program_once_the_user_is_told(away: bool) -> None:
    """Which it does not wait for where the daemon is away."""
    link = Link(away=away)

    async def program() -> None:
        async with asyncio.timeout(60):
            await asyncio.create_task(answering(_interrupts, link).run())

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(program())
    assert [bool(reply.error) for reply in link.replies] == ([] if away else [True])


async def test_a_call_that_is_taken_back_says_nothing_of_its_cancelled_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun = asyncio.Event()

    async def waits(call: Call) -> str:
        begun.set()
        return str(await asyncio.Event().wait())

    link = Link()
    task = asyncio.create_task(answering(waits, link).run())
    async with asyncio.timeout(60):
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
    assert not link.replies
    assert "failed" not in caplog.text
