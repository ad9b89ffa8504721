"""Frames as protobuf-JSON: there and back without loss, and nothing but frames."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from gateway.v1 import event_pb2, event_type_pb2
from gateway.v1 import event_service_pb2 as pb
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st
from json_frames import MOST, read

from gatewayd.core.errors import InvalidArgument, ProtocolViolation
from gatewayd.wire.json import MAX_DEPTH, kind_of_response, request_from_json, response_to_json
from gatewayd.wire.least import least_bytes

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
SMALL = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1, 1) | st.just("")
VALUES = st.recursive(SMALL, lambda inner: st.lists(inner) | st.dictionaries(st.just(""), inner))


@given(st.binary(max_size=60), TEXT, TEXT, st.integers(0, 2**63 - 1))
def test_a_response_loses_nothing(blob: bytes, text: str, topic: str, number: int) -> None:
    event = event_pb2.Event(id=text, type=event_type_pb2.EVENT_TYPE_CUSTOM, topic=topic, seq=number, time=1.5)
    event.custom.json.update({"text": text, "blob": blob.hex(), "deep": {"list": [1, None, True, {"x": topic}]}})
    frame = pb.ConnectResponse(delivery=pb.Delivery(subscription_ids=[text], cursor=topic, events=[event]))
    written = response_to_json(frame.SerializeToString())

    assert "\n" not in written
    assert json_format.Parse(written, pb.ConnectResponse()) == frame
    assert kind_of_response(frame.SerializeToString()) == "delivery"


@given(TEXT, TEXT, st.booleans())
def test_a_request_is_read_by_either_name(text: str, agent: str, partial: bool) -> None:
    frame = pb.ConnectRequest(request_id=text, send=pb.Send(agent=agent, text=text, partial_replies=partial))
    frame.send.timeout.FromMilliseconds(1500)
    for ours in (True, False):
        written = json_format.MessageToJson(frame, preserving_proto_field_name=ours)
        assert pb.ConnectRequest.FromString(read(written)) == frame


@given(st.text(max_size=60) | st.recursive(st.none() | st.integers() | TEXT, st.lists, max_leaves=8).map(json.dumps))
def test_whatever_comes_is_a_frame_or_refused(text: str) -> None:
    try:
        said = read(text)
    except InvalidArgument as error:
        said = error.message.encode()
    assert said == b"" or said.startswith(b"frame: ")


def test_names_and_numbers_are_canonical() -> None:
    event = event_pb2.Event(type=event_type_pb2.EVENT_TYPE_CUSTOM, seq=2**60)
    frame = pb.ConnectResponse(delivery=pb.Delivery(subscription_ids=["ü"], events=[event]))
    found = json.loads(response_to_json(frame.SerializeToString()))

    assert found["delivery"]["subscriptionIds"] == ["ü"]
    assert found["delivery"]["events"][0] == {"type": "EVENT_TYPE_CUSTOM", "seq": str(2**60)}
    assert "requestId" not in found


def nested(levels: int, *, lists: bool) -> str:
    """A publish whose custom event has that many levels inside the frame's own object."""
    opening, closing = ("[", "]") if lists else ('{"x": ', "}")
    return '{"requestId": "r", "unknown": ' + opening * levels + "1" + closing * levels + "}"


@pytest.mark.parametrize("lists", [True, False])
def test_depth_has_a_limit(lists: bool) -> None:
    """Up to it the frame is looked at, beyond it only for its id; far beyond it the reader itself gives up."""
    with pytest.raises(InvalidArgument, match="unknown") as looked_at:
        read(nested(MAX_DEPTH - 1, lists=lists))
    assert not isinstance(looked_at.value, ProtocolViolation)
    assert looked_at.value.metadata["request_id"] == "r"
    for levels in (MAX_DEPTH, 200):
        with pytest.raises(InvalidArgument, match="deeper than 32") as refused:
            read(nested(levels, lists=lists))
        assert refused.value.metadata["request_id"] == "r"
        with pytest.raises(ProtocolViolation):
            read(nested(levels, lists=lists).replace('"r"', '""'))
    with pytest.raises(ProtocolViolation):
        read(nested(500_000, lists=lists))


def test_an_event_may_be_as_deep_as_the_limit_allows() -> None:
    """The frame, publish, events, event, custom and json are six levels of it."""
    deep = '{"publish": {"events": [{"custom": {"json": ' + '{"x": ' * 26 + "1" + "}" * 26 + "}}]}}"

    frame = pb.ConnectRequest.FromString(read(deep))

    assert frame.publish.events[0].custom.json["x"]
    with pytest.raises(ProtocolViolation, match="deeper"):
        read(deep.replace('{"x": 1}', '{"x": [[1]]}'))


@given(st.dictionaries(st.just(""), VALUES))
def test_what_values_take_at_least_is_never_more_than_they_take(found: dict[str, Any]) -> None:
    made = Struct()
    made.update(found)
    assert least_bytes(found, MOST) <= made.ByteSize()


@pytest.mark.parametrize("value", ["1", "0.5", "{}", "[]", '""'])
def test_what_is_larger_than_a_frame_once_read_is_refused_before_it_is_read(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number of one digit is eleven bytes: its reader would take five times as long as for a frame of that size."""

    def read_in_full(*_: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr("gatewayd.wire.json.json_format", SimpleNamespace(ParseDict=read_in_full))
    values = ",".join([value] * (MOST // (len(value) + 1)))
    event = f'{{"custom": {{"json": {{"x": [{values}]}}}}}}'
    with pytest.raises(InvalidArgument, match="larger than 4194304 bytes as protobuf") as refused:
        read(f'{{"requestId": "r", "publish": {{"events": [{event}]}}}}')
    assert refused.value.metadata == {"request_id": "r"}
    with pytest.raises(ProtocolViolation, match="larger"):
        read(f'{{"batch": {{"requests": [{{"publish": {{"events": [{event}]}}}}]}}}}')


def test_a_frame_that_is_too_large_once_read_is_refused() -> None:
    """Which the look before does not find, since texts are not counted."""
    send = json.dumps({"requestId": "r", "send": {"agent": "a", "text": "x" * 1000}})
    assert request_from_json(send, 1100)
    with pytest.raises(InvalidArgument, match="larger than 1000 bytes"):
        request_from_json(send, 1000)
