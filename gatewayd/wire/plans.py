"""What is asked of every event of one type, worked out once, and the value that an encoded event becomes."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gateway.v1 import event_pb2

from gatewayd.core.catalogue import CATALOGUE, Emitter
from gatewayd.core.event import Event, EventType
from gatewayd.core.value import value
from gatewayd.wire.data import checker

NO_DATA: Mapping[str, Any] = MappingProxyType({})


@value(frozen=True, slots=True)
class Plan:
    """Of one type."""

    kind: EventType
    label: str
    durable: bool
    requires: tuple[str, ...]
    check: Callable[[Any, str], None] | None
    """Looks at what can be wrong in its data even if it can be read, under that path; None where nothing can."""
    snapshot: bool
    """Whether its data has a `snapshot`, which only the server fills in."""
    from_clients: bool
    """Whether every client may emit it that may publish it."""


PLANS = {
    int(kind): Plan(
        kind,
        kind.label,
        row.durable,
        row.requires,
        checker(kind),
        "snapshot" in row.data,
        row.emitter is Emitter.CLIENT,
    )
    for kind, row in CATALOGUE.items()
}


def event_from(message: event_pb2.Event, plan: Plan, wire: bytes, owner: str) -> Event:
    return Event(
        message.id,
        plan.kind,
        message.source,
        message.stream_id,
        message.time,
        NO_DATA,
        message.target,
        message.node_id,
        message.execution_id,
        message.session_id,
        message.correlation_id,
        message.topic,
        message.custom_type,
        plan.durable and not message.ephemeral,
        owner,
        "",
        0,
        wire,
    )
