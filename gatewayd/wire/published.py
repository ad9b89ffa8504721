"""Events as clients publish them: read, checked and stamped, each once."""

import hashlib
from collections.abc import Callable, Sequence
from operator import attrgetter

from gateway.v1 import event_pb2
from google.protobuf.message import DecodeError

from gatewayd.core.errors import InvalidArgument, ServerOnlyField, Violation
from gatewayd.core.event import Event, EventType
from gatewayd.core.topic import check_topic
from gatewayd.core.value import value
from gatewayd.wire.data import check_strings
from gatewayd.wire.plans import NO_DATA, PLANS, Plan
from gatewayd.wire.values import MAX_STRING, refuse

MAX_EVENT_BYTES = 256 * 1024
"""Largest event that a client may publish."""

MAX_BATCH = 1000
"""Most events of one publish."""

MAX_NAME = 256
"""Longest string of the envelope, in bytes of UTF-8."""

_SERVER_FIELDS = ("source", "time", "epoch", "seq")
_NAMES = (
    "id",
    "target",
    "stream_id",
    "node_id",
    "execution_id",
    "session_id",
    "correlation_id",
    "topic",
    "custom_type",
)
_read = event_pb2.Event.FromString
_names: Callable[[event_pb2.Event], tuple[str, ...]] = attrgetter(*_NAMES)


@value(frozen=True, slots=True)
class Stamp:
    """What the server says of every event of a batch: who published it, and when (Unix seconds)."""

    source: str
    time: float
    wire: bytes
    """Its encoding, joined to that of each event."""

    @classmethod
    def make(cls, source: str, time: float) -> "Stamp":
        """The stamp of a principal at a time."""
        return cls(source, time, event_pb2.Event(source=source, time=time).SerializeToString())


def parse_event(
    raw: bytes,
    stamp: Stamp,
    *,
    stream_id: str,
    new_id: Callable[[], str],
    owner: str = "",
    path: str = "event",
    may_send: Callable[[EventType], None] = lambda _type: None,
) -> Event:
    """Read an event of a client in full, check it and stamp it.

    `stream_id` and `new_id()` stand in where the client gave none. `path` names the event in errors (`events[3]`).
    `may_send` is asked as soon as a type is known that is not every client's to emit, and raises where it is not this
    one's; who may publish what is another question (`access`).
    Raises `ServerOnlyField` or `InvalidArgument`, with the field as its violation.
    """
    if len(raw) > MAX_EVENT_BYTES:
        raise refuse(path, f"is {len(raw)} bytes long; at most {MAX_EVENT_BYTES} are allowed")
    try:
        message = _read(raw)
    except DecodeError:
        raise refuse(path, "is not the encoding of an event, holds text that is not UTF-8, or is too deep") from None
    plan = PLANS.get(message.type)
    if plan is not None and not plan.from_clients:
        may_send(plan.kind)
    has = message.HasField
    if has("source") or has("time") or has("epoch") or has("seq"):
        raise _server_only(message, path)
    if plan is None or not has(plan.label):  # type: ignore[arg-type]  # half the cost of `WhichOneof`
        raise _wrong_type(message, plan, path)
    names = _names(message)
    # One look at all of them is enough for nearly every event; only a suspect one is looked at name by name.
    together = "".join(names)
    if len(together) > MAX_NAME or not (together.isascii() and together.isprintable()):
        _check_names(names, path)
    event_id, target, stream, node_id, execution_id, session_id, correlation_id, topic, custom_type = names
    ephemeral = message.ephemeral
    if plan.kind is not EventType.CUSTOM or not custom_type:
        _check_of_type(message, plan, path)
    if topic:
        _check_topic(topic, path)
    data = getattr(message, plan.label)
    if plan.check is not None:
        plan.check(data, path)
    if len(raw) > MAX_STRING:
        check_strings(plan.kind, data, path)

    message.DiscardUnknownFields()
    if not event_id:
        event_id = message.id = new_id()
    if not stream:
        stream = message.stream_id = stream_id
    # By place: names cost half as much again, and this runs for every event.
    return Event(
        event_id,
        plan.kind,
        stamp.source,
        stream,
        stamp.time,
        NO_DATA,
        target,
        node_id,
        execution_id,
        session_id,
        correlation_id,
        topic,
        custom_type,
        plan.durable and not ephemeral,
        owner,
        "",
        0,
        message.SerializeToString(deterministic=True) + stamp.wire,
    )


def content_digest(event: Event, stamp: Stamp) -> bytes:
    """Of an event just parsed: equal for two publications of the same content, whenever they came.

    What the server stamps does not count. Tells a repeated publication of an id from a conflicting one.
    """
    return hashlib.sha256(event.wire[: -len(stamp.wire)]).digest()


def _server_only(message: event_pb2.Event, path: str) -> ServerOnlyField:
    name = next(name for name in _SERVER_FIELDS if message.HasField(name))  # type: ignore[arg-type]
    what = "is set only by the server"
    return ServerOnlyField(f"{path}.{name}: {what}", violations=(Violation(f"{path}.{name}", what),))


def _wrong_type(message: event_pb2.Event, plan: Plan | None, path: str) -> InvalidArgument:
    if plan is None:
        what = f"{message.type} is no event type that this gateway knows" if message.type else "is required"
        return refuse(f"{path}.type", what)
    member = message.WhichOneof("data")
    what = f"`{member}` does not belong to {plan.kind.name}" if member else f"`{plan.label}` is required"
    return refuse(f"{path}.data", what)


def _check_of_type(message: event_pb2.Event, plan: Plan, path: str) -> None:
    """What only CUSTOM events may have, and what other types must have or may not."""
    for name in plan.requires:
        if not getattr(message, name):
            raise refuse(f"{path}.{name}", f"is required for {plan.kind.name}")
    if message.custom_type or message.ephemeral:
        raise refuse(f"{path}.{'custom_type' if message.custom_type else 'ephemeral'}", "is only for CUSTOM")
    if plan.snapshot and getattr(message, plan.label).snapshot:
        raise refuse(f"{path}.data.snapshot", "is set only by the server")


def _check_topic(topic: str, path: str) -> None:
    try:
        check_topic(topic)
    except InvalidArgument as error:
        raise refuse(f"{path}.topic", error.message) from None


def _check_names(texts: tuple[str, ...], path: str) -> None:
    for name, text in zip(_NAMES, texts, strict=True):
        if len(text.encode()) > MAX_NAME:
            raise refuse(f"{path}.{name}", f"is longer than {MAX_NAME} bytes")
        if not text.isprintable():
            raise refuse(f"{path}.{name}", "holds characters that are not printable")


def check_batch(events: Sequence[bytes], path: str = "events") -> None:
    """Raise `InvalidArgument` for a publish of no events, or of more than `MAX_BATCH`."""
    if not 1 <= len(events) <= MAX_BATCH:
        raise refuse(path, f"holds {len(events)} events; from 1 to {MAX_BATCH} are allowed")
