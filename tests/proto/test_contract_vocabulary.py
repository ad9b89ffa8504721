"""Rule: the contract and the daemon's vocabulary name the same things, one to one."""

import dataclasses
from enum import Enum
from typing import get_args

import pytest
from gateway.internal.v1 import frames_pb2
from gateway.v1 import (
    channel_pb2,
    error_reason_pb2,
    event_pb2,
    event_service_pb2,
    event_type_pb2,
    execution_pb2,
    message_pb2,
    topic_pb2,
)
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from gatewayd.core import frames, push
from gatewayd.core.catalogue import CATALOGUE, Kind
from gatewayd.core.errors import all_errors
from gatewayd.core.event import EventType
from gatewayd.core.message import ChatContext
from gatewayd.core.work import ExecutionState, LedgerState, Origin

TYPE = FieldDescriptor


def values_of(enum: EnumDescriptor, prefix: str) -> dict[str, int]:
    """Names without prefix and numbers, without the unspecified one."""
    return {value.name.removeprefix(prefix): value.number for value in enum.values if value.number}


def kind_of(field: FieldDescriptor) -> Kind:
    if field.type == TYPE.TYPE_STRING:
        return Kind.STRINGS if field.is_repeated else Kind.STRING
    if field.type == TYPE.TYPE_MESSAGE:
        return {
            "google.protobuf.Struct": Kind.STRUCT,
            "google.protobuf.Value": Kind.VALUE,
            "google.protobuf.Timestamp": Kind.TIME,
        }[field.message_type.full_name]
    return {TYPE.TYPE_INT64: Kind.INTEGER, TYPE.TYPE_DOUBLE: Kind.NUMBER, TYPE.TYPE_BOOL: Kind.BOOLEAN}[field.type]


def test_event_types_have_the_numbers_of_the_catalogue() -> None:
    assert values_of(event_type_pb2.EventType.DESCRIPTOR, "EVENT_TYPE_") == {kind.name: int(kind) for kind in EventType}
    assert set(CATALOGUE) == set(EventType)


def test_each_type_has_its_member_of_data_at_its_number_plus_100() -> None:
    members = event_pb2.Event.DESCRIPTOR.oneofs_by_name["data"].fields

    assert {(field.name, field.number) for field in members} == {(kind.label, 100 + int(kind)) for kind in EventType}
    assert len({field.message_type.full_name for field in members}) == len(EventType)


@pytest.mark.parametrize("kind", [kind for kind in EventType if kind is not EventType.CUSTOM])
def test_data_has_the_keys_and_kinds_of_the_catalogue(kind: EventType) -> None:
    message = event_pb2.Event.DESCRIPTOR.fields_by_name[kind.label].message_type

    assert {field.name: kind_of(field) for field in message.fields} == dict(CATALOGUE[kind].data)


def test_server_only_fields_are_scalars_with_presence() -> None:
    """Appending a scalar overrides it; appending a message would merge, and a zero without presence is not written."""
    for name in ("source", "time", "epoch", "seq"):
        field = event_pb2.Event.DESCRIPTOR.fields_by_name[name]
        assert field.has_presence
        assert field.message_type is None


def test_error_reasons_are_the_reasons_of_the_error_classes() -> None:
    reasons = values_of(error_reason_pb2.ErrorReason.DESCRIPTOR, "ERROR_REASON_")

    assert set(reasons) == {error.reason for error in all_errors()}


@pytest.mark.parametrize(
    ("enum", "prefix", "core"),
    [
        (event_service_pb2.Overflow, "OVERFLOW_", frames.Overflow),
        (event_service_pb2.RecoveryStep, "RECOVERY_STEP_", frames.RecoveryStep),
        (event_service_pb2.EndReason, "END_REASON_", frames.EndReason),
        (channel_pb2.ChatContext, "CHAT_CONTEXT_", ChatContext),
        (execution_pb2.ExecutionState, "EXECUTION_STATE_", ExecutionState),
        (execution_pb2.Origin, "ORIGIN_", Origin),
        (message_pb2.LedgerState, "LEDGER_STATE_", LedgerState),
        (event_service_pb2.TopicEndReason, "TOPIC_END_REASON_", push.TopicEndReason),
        (topic_pb2.PresenceKind, "PRESENCE_KIND_", push.PresenceKind),
        (topic_pb2.TopicDeadReason, "TOPIC_DEAD_REASON_", push.TopicDeadReason),
    ],
)
def test_enums_are_those_of_the_core(enum: object, prefix: str, core: type[Enum]) -> None:
    assert set(values_of(enum.DESCRIPTOR, prefix)) == {member.name for member in core}  # type: ignore[attr-defined]


FRAMES = {"ConnectRequest": get_args(frames.ClientFrame), "ConnectResponse": get_args(frames.ServerFrame)}
OTHER_NAMES = {
    ("Send", "await_reply"): {"no_reply"},
    ("Trigger", "await_reply"): {"no_reply"},
    ("Trigger", "text"): {"text", "json"},
    ("Trigger", "given"): {"session_state"},
    ("PublishMessage", "text"): {"text", "json"},
    ("Delivery", "chunk"): {"cursor", "events"},
    ("SaveCheckpoint", "values"): {"state"},
    ("WaitForInput", "values"): {"state"},
}
"""A boolean whose default is true is turned round on the wire, where the default is false; the input of an entry point
is text in the end; what readers share of a delivery is one value; a state is read once, and kept as it came."""


@pytest.mark.parametrize("envelope", sorted(FRAMES))
def test_frames_are_those_of_the_core_field_by_field(envelope: str) -> None:
    descriptor = event_service_pb2.DESCRIPTOR.message_types_by_name[envelope]
    members = {field.message_type.name: field.message_type for field in descriptor.oneofs_by_name["frame"].fields}

    assert set(members) == {frame.__name__ for frame in FRAMES[envelope]}
    for frame in FRAMES[envelope]:
        fields = (OTHER_NAMES.get((frame.__name__, field.name), {field.name}) for field in dataclasses.fields(frame))
        ours = set().union(*fields) - {"request_id"}
        assert {field.name for field in members[frame.__name__].fields} == ours, frame.__name__


def shape(message: Descriptor) -> dict[int, tuple[str, int, bool, str, str]]:
    """What of a message shows on the wire, with what travels as bytes seen as the bytes that it is."""
    found = {}
    for field in message.fields:
        kind, name = field.type, field.message_type.full_name if field.message_type else ""
        if name in ("gateway.v1.Event", "gateway.v1.TopicMessage", "gateway.v1.ConnectResponse"):
            kind, name = TYPE.TYPE_BYTES, ""
        oneof = field.containing_oneof.name if field.containing_oneof else ""
        found[field.number] = (field.name, kind, field.is_repeated, name.replace(".internal.", "."), oneof)
    return found


@pytest.mark.parametrize(
    ("twin", "public"),
    [
        (frames_pb2.ConnectRequest, event_service_pb2.ConnectRequest),
        (frames_pb2.Publish, event_service_pb2.Publish),
        (frames_pb2.Publish, event_service_pb2.PublishRequest),
        (frames_pb2.Delivery, event_service_pb2.Delivery),
        (frames_pb2.TopicDelivery, event_service_pb2.TopicDelivery),
        (frames_pb2.RequestBatch, event_service_pb2.RequestBatch),
        (frames_pb2.ResponseBatch, event_service_pb2.ResponseBatch),
        (frames_pb2.ListEventsResponse, event_service_pb2.ListEventsResponse),
    ],
)
def test_twins_are_the_same_on_the_wire(twin: object, public: object) -> None:
    assert shape(twin.DESCRIPTOR) == shape(public.DESCRIPTOR)  # type: ignore[attr-defined]


def test_the_twin_of_the_response_is_a_part_of_the_public_one() -> None:
    assert (
        shape(frames_pb2.ConnectResponse.DESCRIPTOR).items()
        <= shape(event_service_pb2.ConnectResponse.DESCRIPTOR).items()
    )
