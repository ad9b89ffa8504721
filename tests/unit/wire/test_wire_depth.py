"""What the decoder could not read because of its depth is told with its place; anything else is not guessed at."""

from typing import Any

import pytest
from gateway.v1 import event_service_pb2, runtime_service_pb2, state_pb2
from google.protobuf.message import DecodeError

from gatewayd.core.errors import InvalidArgument, ProtocolViolation
from gatewayd.wire.client import decode_client_frame
from gatewayd.wire.depth import text_of, too_deep


def deep(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {"x": 1}
    for _ in range(levels - 1):
        found = {"x": found}
    return found


def lists(levels: int) -> dict[str, Any]:
    found: Any = [1]
    for _ in range(levels - 2):
        found = [found]
    return {"x": found}


@pytest.mark.parametrize("value", [deep(34), deep(90), lists(60)])
def test_the_field_is_named(value: dict[str, Any]) -> None:
    request = runtime_service_pb2.TriggerAndWaitRequest()
    request.trigger.entry_point = "ask"
    request.trigger.json.update(value)
    data = request.SerializeToString()
    with pytest.raises(DecodeError):
        runtime_service_pb2.TriggerAndWaitRequest.FromString(data)

    error = too_deep(data, request.DESCRIPTOR)

    assert error is not None
    (violation,) = error.violations
    assert violation.field == "trigger.json"
    assert "deeper than 32" in violation.description
    assert "make it flatter" in error.message


def test_one_of_many_is_named_by_its_place() -> None:
    request = state_pb2.SetStateRequest()
    request.writes.add(key="a").value.number_value = 1
    request.writes.add(key="b").value.struct_value.update(deep(40))

    error = too_deep(request.SerializeToString(), request.DESCRIPTOR)

    assert error is not None
    assert error.violations[0].field == "writes[1].value"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\x0a\x7fshort",
        b"\x0f\x01",
        b"\x10" + b"\xff" * 12,
        b"\x0a\x03ask\x19",
        b"\x0a\x02\xff\xfe",
        b"\xfa" + b"\xff" * 8 + b"\x01\x00",
    ],
)
def test_other_damage_is_not_called_depth(data: bytes) -> None:
    assert too_deep(data, runtime_service_pb2.TriggerRequest.DESCRIPTOR) is None
    assert text_of(data, 7) == ""


def test_what_is_as_deep_as_allowed_is_not_blamed() -> None:
    request = runtime_service_pb2.TriggerRequest(entry_point="ask")
    request.json.update(deep(32))

    assert too_deep(request.SerializeToString(), request.DESCRIPTOR) is None


@pytest.mark.parametrize("field", [b"\x0a\x00", b"\x08\x01", b"\x09" + bytes(8), b"\x0d" + bytes(4)])
def test_it_does_not_look_for_long(field: bytes) -> None:
    """A flood of fields before the deep one: no answer, instead of a long search for it."""
    request = runtime_service_pb2.TriggerRequest()
    request.json.update(deep(40))
    data = field * 30_000 + request.SerializeToString()

    assert too_deep(data, request.DESCRIPTOR) is None


def test_a_frame_is_refused_by_its_id_and_the_stream_goes_on() -> None:
    frame = event_service_pb2.ConnectRequest(request_id="r7")
    frame.trigger.entry_point = "ask"
    frame.trigger.json.update(deep(40))

    with pytest.raises(InvalidArgument) as caught:
        decode_client_frame(frame.SerializeToString())

    assert caught.value.metadata["request_id"] == "r7"
    assert caught.value.violations[0].field == "trigger.json"
    frame.request_id = ""
    with pytest.raises(ProtocolViolation):
        decode_client_frame(frame.SerializeToString())
