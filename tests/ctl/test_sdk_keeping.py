"""Handlers that keep what they go on from: what the client library says of it, again after a lost link, and to whom."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import Any

import pytest
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import Call, GatewayError, InvalidArgument, LimitExceeded, NotFound, Suspended
from gatewayctl.sdk import answering as module
from gatewayctl.sdk.answering import Answering, Handler
from gatewayctl.sdk.link import LinkLost
from gatewayctl.sdk.serving import _call

Say = Callable[[pb.ConnectRequest], Awaitable[pb.Accepted]]


class Link:
    """One link to a daemon that says what the test says, and notes what it is asked."""

    def __init__(self, say: Say | None = None, *, features: tuple[str, ...] = ("worker_checkpoints",)) -> None:
        self.features = frozenset(features)
        self.welcome = pb.Welcome(server_version="0.1")
        self.max_message_bytes = 4 << 20
        self.asked: list[tuple[Any, ...]] = []
        self.keys: list[str] = []
        self._say = say

    async def request(self, frame: pb.ConnectRequest) -> pb.Accepted:
        assert not frame.request_id, "each link gives it an id of its own"
        frame.request_id = "r"
        kind = frame.WhichOneof("frame")
        if kind == "call_reply":
            reply = frame.call_reply
            self.asked.append(("reply", reply.offset, reply.content, reply.final, reply.error))
        else:
            put = getattr(frame, str(kind))
            self.keys.append(put.idempotency_key)
            self.asked.append((kind, put.state, put.node_id))
        return await self._say(frame) if self._say is not None else pb.Accepted()


class Rig:
    """One call that is answered over the link of now."""

    def __init__(self, handler: Handler, link: Link, **call: Any) -> None:
        self.link = link
        told = pb.Call(call_id="c", agent="a", text="t", **call)
        told.timeout.FromSeconds(60)

        async def current() -> Any:
            return self.link

        made = _call(told, None)  # type: ignore[arg-type]
        keys = (f"k{number}" for number in count())
        self.answering = Answering(
            made,
            handler,
            current,
            link,  # type: ignore[arg-type]
            before=told.offset,
            new_key=lambda: next(keys),
        )
        self.task = asyncio.create_task(self.answering.run())

    def reconnect(self, link: Link) -> None:
        self.link = link
        self.answering.wake()

    async def ends(self) -> None:
        async with asyncio.timeout(60):
            await self.task


def lose_at(kind: str, rig: Callable[[], Rig], then: Link) -> Say:
    """Take everything, but lose the link before this kind is answered."""

    async def say(frame: pb.ConnectRequest) -> pb.Accepted:
        if frame.WhichOneof("frame") == kind:
            rig().reconnect(then)
            raise LinkLost
        return pb.Accepted()

    return say


async def refuse(frame: pb.ConnectRequest, error: GatewayError) -> pb.Accepted:
    if frame.WhichOneof("frame") != "call_reply":
        raise error
    return pb.Accepted()


async def leave(frame: pb.ConnectRequest) -> pb.Accepted:
    return pb.Accepted(left=frame.WhichOneof("frame") != "call_reply")


async def test_a_checkpoint_is_said_behind_the_text_before_it() -> None:
    async def answer(call: Call) -> AsyncIterator[str]:
        assert (call.state, dict(call.inputs)) == ({"n": 1}, {"": "Ann"})
        yield "ab"
        await call.checkpoint({"n": 2, "ü": [1.5, None]}, node_id="s", at="start")
        yield "c"

    link = Link()
    await Rig(answer, link, state='{"n": 1}', inputs={"": "Ann"}, offset=3).ends()
    assert link.asked == [
        ("reply", 3, "ab", False, ""),
        ("save_checkpoint", '{"n": 2, "ü": [1.5, null]}', "s"),
        ("reply", 5, "c", True, ""),
    ]


async def test_a_lost_answer_is_asked_for_again_with_the_same_key_and_then_no_more() -> None:
    async def answer(call: Call) -> AsyncIterator[str]:
        yield "ab"
        await call.checkpoint({"n": 1})
        yield "cd"
        await call.checkpoint({"n": 2})
        yield "e"

    third = Link()
    second = Link(lose_at("save_checkpoint", lambda: rig, third))
    first = Link(lose_at("save_checkpoint", lambda: rig, second))
    rig = Rig(answer, first)
    second._say = _twice(second._say)
    await rig.ends()

    assert first.asked == [("reply", 0, "ab", False, ""), ("save_checkpoint", '{"n": 1}', "")]
    assert second.asked == [
        ("reply", 0, "ab", False, ""),
        ("save_checkpoint", '{"n": 1}', ""),
        ("reply", 2, "cd", False, ""),
        ("save_checkpoint", '{"n": 2}', ""),
    ]
    assert third.asked == [
        ("reply", 2, "cd", False, ""),
        ("save_checkpoint", '{"n": 2}', ""),
        ("reply", 4, "e", True, ""),
    ]
    assert first.keys == second.keys[:1]
    assert second.keys[1:] == third.keys
    assert len(set(second.keys)) == 2


def _twice(say: Say | None) -> Say:
    """Take the first checkpoint, and let the other say what becomes of the second."""
    count = 0

    async def later(frame: pb.ConnectRequest) -> pb.Accepted:
        nonlocal count
        count += frame.HasField("save_checkpoint")
        assert say is not None
        return await say(frame) if count > 1 else pb.Accepted()

    return later


@pytest.mark.parametrize("waits", [True, False])
async def test_a_handler_whose_execution_leaves_ends_without_an_answer(*, waits: bool) -> None:
    ended: list[str] = []

    async def answer(call: Call) -> str:
        try:
            if waits:
                await call.wait_for_input("Who?", {"n": 1}, node_id="ask")
            await call.checkpoint({"n": 1}, node_id="ask")
        except Suspended:
            ended.append("suspended")
            with pytest.raises(Suspended):
                await call.checkpoint({})
            raise
        finally:
            await asyncio.sleep(0)
            ended.append("tidied up")
        return "never"

    link = Link(leave)
    await Rig(answer, link).ends()
    assert ended == ["suspended", "tidied up"]
    assert link.asked == [("wait_for_input" if waits else "save_checkpoint", '{"n": 1}', "ask")]


async def test_a_handler_that_goes_on_all_the_same_is_heard_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.01)
    cancelled = asyncio.Event()

    async def answer(call: Call) -> AsyncIterator[str]:
        try:
            await call.checkpoint({})
        except Suspended:
            yield "goes on"
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    link = Link(leave)
    await Rig(answer, link).ends()
    assert cancelled.is_set()
    assert len(link.asked) == 1


async def test_the_frame_to_wait_says_who_is_asked() -> None:
    frames: list[pb.ConnectRequest] = []

    async def say(frame: pb.ConnectRequest) -> pb.Accepted:
        frames.append(frame)
        return pb.Accepted(left=True)

    async def answer(call: Call) -> str:
        await call.wait_for_input("May it?", {}, node_id="boss", client_facing=False)

    await Rig(answer, Link(say)).ends()
    (frame,) = frames
    wait = frame.wait_for_input
    assert (wait.prompt, wait.internal, wait.node_id, wait.call_id) == ("May it?", True, "boss", "c")


async def test_a_place_that_there_is_not_and_what_is_no_json_are_refused_before_anything_is_said() -> None:
    async def answer(call: Call) -> str:
        for state in ({"x": object()}, {"x": float("inf")}, {"x": "\ud800"}, [1], None):
            with pytest.raises(InvalidArgument, match="not a JSON object"):
                await call.checkpoint(state)  # type: ignore[arg-type]
            with pytest.raises(InvalidArgument, match="not a JSON object"):
                await call.wait_for_input("?", state)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="neither"):
            await call.checkpoint({}, at="wait")  # type: ignore[arg-type]
        await call.checkpoint({}, at="start")
        return "done"

    link = Link()
    await Rig(answer, link).ends()
    assert link.asked == [("save_checkpoint", "{}", ""), ("reply", 0, "done", True, "")]


async def test_an_older_daemon_is_named_and_nothing_is_said_to_it() -> None:
    async def answer(call: Call) -> AsyncIterator[str]:
        yield "ab"
        with pytest.raises(GatewayError, match=r"gatewayd 0\.1.* keeps no checkpoints") as failure:
            await call.checkpoint({})
        assert failure.value.code == 12
        yield "c"

    link = Link(features=("workers",))
    await Rig(answer, link).ends()
    assert link.asked == [("reply", 0, "ab", False, ""), ("reply", 2, "c", True, "")]


async def test_what_the_daemon_refuses_is_raised_and_the_call_goes_on() -> None:
    async def answer(call: Call) -> str:
        with pytest.raises(LimitExceeded, match="too much"):
            await call.checkpoint({})
        return "done"

    link = Link(lambda frame: refuse(frame, LimitExceeded("too much", code=8, reason="LIMIT_EXCEEDED")))
    await Rig(answer, link).ends()
    assert link.asked[-1] == ("reply", 0, "done", True, "")


async def test_a_call_that_is_over_cancels_its_handler() -> None:
    cancelled = asyncio.Event()

    async def answer(call: Call) -> str:
        try:
            await call.checkpoint({})
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    link = Link(lambda frame: refuse(frame, NotFound("no such call", code=5, reason="NOT_FOUND")))
    await Rig(answer, link).ends()
    assert cancelled.is_set()


async def test_a_call_that_no_client_has_made_keeps_nothing() -> None:
    call = _call(pb.Call(call_id="c"), None)  # type: ignore[arg-type]
    assert call.state is None
    with pytest.raises(RuntimeError, match="client"):
        await call.checkpoint({})
