"""Rule: one typed helper for each type of event that a client, or an agent, may emit; none is missing, none lies."""

import inspect
from collections.abc import Mapping
from typing import Any

import pytest
from gateway.v1 import event_pb2

from gatewayctl.events import type_name
from gatewayctl.sdk.emit import Emits as ClientEmits
from gatewayd.agents.emitting import Emits as AgentEmits
from gatewayd.core.catalogue import CATALOGUE, Emitter, Kind
from gatewayd.core.event import Event, EventType
from gatewayd.wire import encode_event

CLIENTS = sorted(kind for kind, row in CATALOGUE.items() if row.emitter is Emitter.CLIENT)
AGENTS = sorted(kind for kind, row in CATALOGUE.items() if row.emitter is not Emitter.SERVER)
SAMPLES: dict[Kind, Any] = {
    Kind.STRING: "text",
    Kind.INTEGER: 7,
    Kind.NUMBER: 0.5,
    Kind.BOOLEAN: True,
    Kind.STRUCT: {"key": "value"},
}
SERVER_KEYS = {"snapshot"}
"""What the server alone fills in."""


class Program(ClientEmits):
    """A client that keeps what it would publish."""

    def __init__(self) -> None:
        self.published: list[event_pb2.Event] = []

    async def publish(self, events: Any) -> str:
        self.published.append(events)
        return "e:1"

    async def announce(self, events: Any) -> int:
        self.published.append(events)
        return 3


class Agent(AgentEmits):
    """An agent's context that keeps what it would emit."""

    def __init__(self) -> None:
        self.emitted: list[tuple[EventType, Mapping[str, Any], dict[str, Any]]] = []

    def emit(self, kind: EventType, data: Mapping[str, Any], **envelope: Any) -> None:
        self.emitted.append((kind, data, envelope))


def arguments(helper: Any, kind: EventType) -> dict[str, Any]:
    """One for each parameter that is a key of the data, or that the type requires."""
    data = {key: SAMPLES[what] for key, what in CATALOGUE[kind].data.items() if key not in SERVER_KEYS}
    named = {"custom_type": "note", "data": {"key": "value"}} if kind is EventType.CUSTOM else {}
    named |= {"node_id": "node"} if "node_id" in CATALOGUE[kind].requires else {}
    known = inspect.signature(helper).parameters
    assert set(data) <= set(known), f"{kind.label}: a key of its data has no parameter"
    return {name: value for name, value in (data | named).items() if name in known}


def helpers(of: type) -> set[str]:
    return {name.removeprefix("emit_") for name in dir(of) if name.startswith("emit_")}


def test_there_is_one_for_each_type_and_no_other() -> None:
    assert helpers(ClientEmits) == {kind.label for kind in CLIENTS}
    assert helpers(AgentEmits) == {kind.label for kind in AGENTS}


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_clients_helper_fills_its_type(kind: EventType) -> None:
    program = Program()
    helper = getattr(program, f"emit_{kind.label}")
    given = arguments(helper, kind)
    await helper(**given, topic="a.b")
    (event,) = program.published

    assert (event.type, event.topic) == (int(kind), "a.b")
    assert type_name(event) == ("note" if kind is EventType.CUSTOM else kind.label)
    data = getattr(event, kind.label)
    for key in CATALOGUE[kind].data:
        assert data.HasField(key) if data.DESCRIPTOR.fields_by_name[key].message_type else getattr(data, key)


async def test_a_broadcast_is_counted() -> None:
    assert await Program().broadcast("hello") == 3


@pytest.mark.parametrize("kind", AGENTS)
def test_an_agents_helper_fills_its_type(kind: EventType) -> None:
    agent = Agent()
    helper = getattr(agent, f"emit_{kind.label}")
    helper(**arguments(helper, kind))
    ((emitted, data, envelope),) = agent.emitted

    assert emitted is kind
    if kind is not EventType.CUSTOM:
        assert set(data) == set(CATALOGUE[kind].data) - SERVER_KEYS
    needed = {name: envelope[name] for name in CATALOGUE[kind].requires if name != "execution_id"}
    assert all(needed.values())
    custom_type = envelope.get("custom_type", "")
    assert encode_event(
        Event(
            "e",
            kind,
            "s",
            "stream",
            1.0,
            data,
            execution_id="x",
            custom_type=custom_type,
            **({"node_id": envelope["node_id"]} if envelope.get("node_id") else {}),
        )
    )
