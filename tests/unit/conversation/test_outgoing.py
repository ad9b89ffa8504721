"""What waits for one connection goes out together, within the bounds of a frame, answers before all else."""

from typing import Any

import pytest
from gateway.v1 import event_service_pb2 as pb

from gatewayd.conversation.outgoing import MAX_CONTROL_BYTES, Outgoing
from gatewayd.conversation.pace import FACTOR, LONGEST, MANY, SHORTEST, Pace
from gatewayd.conversation.subscriptions import MAX_FRAME, MIN_ROOM
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.event import Cursor
from gatewayd.core.frames import Gap, Pong, Progress, Rejected
from gatewayd.core.workers import CancelCall
from gatewayd.wire import encode_server_frame


class Source:
    """Frames of one kind."""

    def __init__(self) -> None:
        self.frames: list[Any] = []
        self.rooms: list[int] = []
        self.whole = False
        """Whether its frames come only where there is all the room."""

    @property
    def have_news(self) -> bool:
        return bool(self.frames)

    ready = have_news

    def next_frame(self, room: int = 0) -> Any:
        self.rooms.append(room)
        if self.whole and room < MAX_FRAME:
            return None
        return self.frames.pop(0) if self.frames else None


class Way:
    """An `Outgoing` and what it takes from."""

    def __init__(self) -> None:
        self.calls, self.events, self.pushed = Source(), Source(), Source()
        self.outgoing = Outgoing(self.calls, self.events, self.pushed)  # type: ignore[arg-type]

    def answer(self, name: str, size: int = 0) -> bool:
        """One that has about so many bytes."""
        return self.outgoing.put(encode_server_frame(Rejected(name, InvalidArgument("x" * size))), "")

    def sent(self, *, together: bool = True, answers_only: bool = False) -> pb.ConnectResponse | None:
        data = self.outgoing.next(together=together, answers_only=answers_only)
        assert data is None or len(data) <= MAX_FRAME or b"large" in data
        return None if data is None else pb.ConnectResponse.FromString(data)


def kinds(frame: pb.ConnectResponse | None) -> list[str]:
    assert frame is not None
    return [one.WhichOneof("frame") or "" for one in frame.batch.responses] or [frame.WhichOneof("frame") or ""]


def test_all_that_waits_is_one_frame_in_its_order() -> None:
    way = Way()
    way.pushed.frames = [Pong("pushed")]
    way.events.frames = [Progress(("s",), Cursor("L", 1))]
    way.calls.frames = [CancelCall("c", "why")]
    way.answer("a")
    way.answer("b")

    frame = way.sent()
    assert kinds(frame) == ["rejected", "rejected", "cancel_call", "progress", "pong"]
    assert way.outgoing.joined == 5
    assert way.sent() is None


def test_who_takes_no_batches_gets_one_by_one() -> None:
    way = Way()
    way.answer("a")
    way.answer("b")
    first = way.sent(together=False)
    assert way.outgoing.has_more
    second = way.sent(together=False)
    assert not way.outgoing.has_more
    assert first is not None
    assert second is not None
    assert [first.request_id, second.request_id] == ["a", "b"]


def test_one_that_is_alone_is_no_batch() -> None:
    way = Way()
    way.answer("a")
    assert kinds(way.sent()) == ["rejected"]


def test_answers_beyond_a_frame_wait_for_the_next() -> None:
    way = Way()
    for number in range(3):
        way.answer(str(number), 100 * 1024)
    assert kinds(way.sent()) == ["rejected", "rejected"]
    assert kinds(way.sent()) == ["rejected"]


def test_answers_pass_a_call_that_found_no_room() -> None:
    way = Way()
    way.calls.frames = [CancelCall("small", ""), CancelCall("c", "large" * MAX_FRAME)]
    assert kinds(way.sent()) == ["cancel_call"]
    way.answer("a")
    first = way.sent()
    assert kinds(first) == ["rejected"]
    assert kinds(way.sent()) == ["cancel_call"]


def test_events_get_the_room_that_is_left_and_none_where_it_is_too_small() -> None:
    way = Way()
    way.answer("a", MAX_FRAME - MIN_ROOM)
    way.events.frames = [Progress(("s",), Cursor("L", 1))]
    assert kinds(way.sent()) == ["rejected"]
    assert way.events.rooms == []
    way.answer("b", 1000)
    assert kinds(way.sent()) == ["rejected", "progress"]
    assert MAX_FRAME - 1200 < way.events.rooms[0] < MAX_FRAME - 1000


@pytest.mark.parametrize("together", [True, False])
def test_events_and_what_is_pushed_take_turns(together: bool) -> None:
    way = Way()
    for number in range(20):
        way.events.frames.append(Gap("s", number, Cursor("L" * (MAX_FRAME - 1000), number)))
    way.pushed.frames = [Pong(f"pushed {number}") for number in range(3)]

    told = [kind for _ in range(9) for kind in kinds(way.sent(together=together))]
    assert told.count("pong") == 3, "what is pushed starves"
    assert told[:6] == ["gap", "pong"] * 3
    assert told[6:].count("gap") >= 3


def test_a_push_that_needs_a_frame_of_its_own_comes_first_in_the_next() -> None:
    way = Way()
    way.pushed.frames = [Pong("large" * (MAX_FRAME // 5))]
    way.pushed.whole = True
    way.events.frames = [Progress(("s",), Cursor("L", number)) for number in range(3)]

    assert kinds(way.sent()) == ["progress", "progress", "progress"]
    way.events.frames = [Progress(("s",), Cursor("L", 4))]
    assert kinds(way.sent()) == ["pong"]
    assert kinds(way.sent()) == ["progress"]


def test_at_the_end_answers_alone_are_sent() -> None:
    way = Way()
    way.calls.frames = [CancelCall("c", "")]
    way.answer("a")
    assert kinds(way.sent(answers_only=True)) == ["rejected"]
    assert way.sent(answers_only=True) is None


def test_too_many_answers_are_not_kept() -> None:
    way = Way()
    assert way.answer("a", MAX_CONTROL_BYTES // 2)
    assert not way.answer("b", MAX_CONTROL_BYTES // 2)
    assert way.sent() is None


def test_the_requests_that_a_frame_answers_are_told() -> None:
    way = Way()
    for name in "ab":
        way.outgoing.put(encode_server_frame(Pong(name)), name)
    way.sent()
    assert way.outgoing.replying == ["a", "b"]


def test_a_frame_holds_the_next_by_what_it_cost() -> None:
    pace = Pace()
    assert pace.hold(5.0) <= 0
    now = 10.0 + LONGEST / 4
    pace.sent(10.0, now, 1)
    assert pace.hold(now) == pytest.approx(FACTOR * LONGEST / 4)
    assert pace.hold(now + LONGEST / 4) == pytest.approx((FACTOR - 1) * LONGEST / 4)
    assert pace.hold(11.0) <= 0
    pace.sent(20.0, 29.0, 1)
    assert pace.hold(29.0) == pytest.approx(LONGEST)
    for frames, least in ((MANY - 1, 0.0), (MANY, SHORTEST)):
        pace.sent(30.0, 30.0, frames)
        assert pace.hold(30.0) == pytest.approx(least)
