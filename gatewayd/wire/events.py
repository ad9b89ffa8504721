"""Events ↔ bytes. An event is checked once and encoded once; then its bytes are passed on as they are.

What is passed on is the encoding of what was checked, not what the client sent: fields that this daemon does not
know, fields sent twice and other liberties of the encoding, which readers in other languages may understand in
other ways, do not survive. The price is one encoding per event (a third of a microsecond), whatever the number
of its readers.
"""

from gateway.v1 import event_pb2
from google.protobuf.message import DecodeError

from gatewayd.core.errors import StoreCorrupt
from gatewayd.core.event import Event
from gatewayd.wire.data import fill_data
from gatewayd.wire.plans import PLANS, event_from


def encode_event(event: Event) -> bytes:
    """The public encoding, without `epoch` and `seq`, of an event that was made inside the daemon.

    Raises `InvalidArgument` for data that does not fit the catalogue; what calls it with data from outside (a
    webhook's body) must be ready for that.
    """
    kind = event.type
    plan = PLANS[kind]
    # Member by member, and only those that say something: as arguments of the constructor they cost twice as much.
    message = event_pb2.Event()
    message.id = event.id
    message.type = int(kind)  # type: ignore[assignment]
    message.stream_id = event.stream_id
    message.source = event.source
    message.time = event.time
    if event.target:
        message.target = event.target
    if event.node_id:
        message.node_id = event.node_id
    if event.execution_id:
        message.execution_id = event.execution_id
    if event.session_id:
        message.session_id = event.session_id
    if event.correlation_id:
        message.correlation_id = event.correlation_id
    if event.topic:
        message.topic = event.topic
    if event.custom_type:
        message.custom_type = event.custom_type
    if plan.durable and not event.durable:
        message.ephemeral = True
    fill_data(message, kind, plan.label, event.data)
    return message.SerializeToString()


def with_wire(event: Event) -> Event:
    """The same event with its encoding kept in it, so that it is made only once."""
    return event if event.wire else event.encoded(encode_event(event))


def with_snapshot(event: Event, text: str) -> Event:
    """A delta of text, for a subscriber that wants the whole text so far, too."""
    more = event_pb2.Event()
    getattr(more, event.type.label).snapshot = text
    # Encodings of one message may be joined: members that both have are merged.
    return event.encoded((event.wire or encode_event(event)) + more.SerializeToString())


def event_bytes(event: Event) -> bytes:
    """The final public encoding, with `epoch` and `seq` if the store has stamped them."""
    wire = event.wire or encode_event(event)
    if not event.seq:
        return wire
    # Encodings of one message may be joined; both fields are scalars that `wire` does not have.
    return wire + event_pb2.Event(epoch=event.epoch, seq=event.seq).SerializeToString()


def decode_event(raw: bytes, *, epoch: str = "", seq: int = 0, owner: str = "") -> Event:
    """Read back an event that this daemon encoded, from `Event.wire` or from `event_bytes`.

    A place in the log that is in the bytes wins over the arguments. Raises `StoreCorrupt` for bytes that are not
    an event; an event of a type that a later version added is not readable either.
    """
    try:
        message = event_pb2.Event.FromString(raw)
        plan = PLANS[message.type]
    except (DecodeError, KeyError) as error:
        raise StoreCorrupt("an event in the store cannot be read") from error
    wire = raw
    if message.HasField("epoch") or message.HasField("seq"):
        epoch, seq = message.epoch, message.seq
        message.ClearField("epoch")
        message.ClearField("seq")
        wire = message.SerializeToString()
    event = event_from(message, plan, wire, owner)
    return event.stamped(epoch, seq) if seq else event
