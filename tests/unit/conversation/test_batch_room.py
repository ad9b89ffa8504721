"""Which events go out in one frame with others, and which come by themselves: the large ones, and the deepest."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gateway.v1 import event_service_pb2 as pb
from google.protobuf.message import DecodeError

from gatewayd.access.principals import local_principal
from gatewayd.bus.base import SubscriptionSpec
from gatewayd.bus.mailbox import Mailbox
from gatewayd.conversation.inbox import Inbox
from gatewayd.conversation.outgoing import Outgoing
from gatewayd.conversation.reading import Sight
from gatewayd.conversation.subscriptions import MAX_FRAME, MIN_ROOM, Subscriptions
from gatewayd.core.chunk import Chunk
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import Delivery, Pong, ResponseBatch, Subscribe
from gatewayd.wire import encode_server_frame, with_wire
from gatewayd.wire.nesting import is_deep
from gatewayd.wire.values import MAX_DEPTH

KINDS = (EventType.CUSTOM, EventType.STATE_CHANGED)


def nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {"x": 1}
    for _ in range(levels - 1):
        found = {"x": found}
    return found


def event(name: str, levels: int = 1, size: int = 0, kind: EventType = EventType.CUSTOM) -> Event:
    if kind is EventType.STATE_CHANGED:
        data: dict[str, Any] = {"key": "k", "old_value": None, "new_value": nested(levels)}
        return with_wire(Event(name, kind, "x", "s", 1.0, data))
    data = {"text": "y" * size} if size else nested(levels)
    return with_wire(Event(name, kind, "x", "s", 1.0, data, durable=False, custom_type="n"))


def batch(*events: Event) -> bytes:
    delivery = encode_server_frame(Delivery(("s",), Chunk(events)))
    return encode_server_frame(ResponseBatch([delivery, encode_server_frame(Pong("p"))]))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_called_deep_can_be_read_in_a_batch(kind: EventType) -> None:
    safe = [event(str(levels), levels, kind=kind) for levels in range(1, MAX_DEPTH + 1)]
    safe = [one for one in safe if not is_deep(Chunk((one,)))]
    assert len(safe) >= MAX_DEPTH - 6
    assert len(pb.ConnectResponse.FromString(batch(*safe)).batch.responses[0].delivery.events) == len(safe)


@pytest.mark.parametrize("kind", KINDS)
def test_the_deepest_can_be_read_only_by_itself(kind: EventType) -> None:
    deepest = event("d", MAX_DEPTH, kind=kind)
    assert is_deep(Chunk((event("a"), deepest)))
    pb.ConnectResponse.FromString(encode_server_frame(Delivery(("s",), Chunk((deepest,)))))
    with pytest.raises(DecodeError):
        pb.ConnectResponse.FromString(batch(deepest))


class Bus:
    """Has one subscription, which the test fills."""

    live = True
    end = Cursor("e", 0)

    def subscribe(self, spec: SubscriptionSpec, wake: Callable[[], None]) -> "Bus":
        end = Cursor("e", 0)
        self.mailbox = Mailbox(limit_bytes=1 << 22, overflow=spec.overflow, wake=wake, start=end, reached=lambda: 0)
        return self

    def close(self) -> None:
        pass


class Silent:
    """Where nothing waits."""

    have_news = False


class Way:
    """What one connection is sent."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.inbox = Inbox()
        self.subscriptions = Subscriptions(bus=self.bus, oldest=lambda: Cursor("e", 0), wake=lambda: None)  # type: ignore[arg-type]
        self.subscriptions.attach(self.inbox, [], Sight(local_principal(), "me"))
        self.subscriptions.add(Subscribe("r", "s", EventFilter()), local_principal(), "me", 1 << 22)
        self.outgoing = Outgoing(Silent(), self.subscriptions, Silent())  # type: ignore[arg-type]

    def put(self, where: str, one: Event) -> None:
        if where == "inbox":
            self.inbox.put(Chunk((one,)), 1 << 22)
        else:
            self.bus.mailbox.put(Chunk((one,)))

    def answer(self, name: str) -> None:
        self.outgoing.put(encode_server_frame(Pong(name)), "")

    def sent(self) -> Iterator[list[str]]:
        """What each frame brings, by the ids of requests and events."""
        while (data := self.outgoing.next(together=True, answers_only=False)) is not None:
            assert len(data) <= MAX_FRAME or b"large" in data
            frame = pb.ConnectResponse.FromString(data)
            responses = list(frame.batch.responses) or [frame]
            yield [name for one in responses for name in ([one.request_id] if one.request_id else _ids(one))]


def _ids(frame: pb.ConnectResponse) -> list[str]:
    return [one.id for one in frame.delivery.events]


@pytest.mark.parametrize("where", ["inbox", "subscription"])
def test_the_deepest_event_has_a_frame_of_its_own(where: str) -> None:
    way = Way()
    way.answer("before")
    for one in (event("a"), event("deep", MAX_DEPTH), event("b")):
        way.put(where, one)
    assert next(way.sent()) == ["before", "a"]
    way.answer("between")
    assert list(way.sent()) == [["between"], ["deep", "b"]]


@pytest.mark.parametrize("where", ["inbox", "subscription"])
def test_an_event_for_which_there_is_no_room_waits_for_the_next_frame(where: str) -> None:
    way = Way()
    way.put(where, event("a", size=MAX_FRAME - 2 * MIN_ROOM))
    way.put(where, event("b", size=MAX_FRAME // 2))
    assert list(way.sent()) == [["a"], ["b"]]
    way.answer("before")
    way.put(where, event("large", size=2 * MAX_FRAME))
    assert list(way.sent()) == [["before"], ["large"]]
