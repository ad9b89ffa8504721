"""What an agent tells beside its outputs: about its own execution, checked, durable or not as its type is."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from gatewayd.config.entry_points import CheckpointsSection
from gatewayd.core.checkpoint import Restart
from gatewayd.core.clock import SeededRandomness
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.event import Event, EventType
from gatewayd.core.ids import IdSource
from gatewayd.core.message import ReplyKind, ReplyTo
from gatewayd.core.work import Execution, Origin
from gatewayd.runtime.context import RunContext
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.execution_log import ExecutionLog
from gatewayd.runtime.leaving import Leaving
from gatewayd.runtime.live import LiveExecution
from gatewayd.testing.fake_state import FakeState
from gatewayd.testing.fakes import FakeClock
from gatewayd.wire import data_of


class Rig:
    """A context, and what it has told."""

    def __init__(self) -> None:
        clock = FakeClock()
        execution = Execution(
            id="x1",
            message_id="m1",
            session_id="s1",
            agent="a",
            principal="ann",
            origin=Origin.CLIENT,
            text="hi",
            reply_to=ReplyTo(ReplyKind.CALLER),
            stream_id="a",
            correlation_id="co",
            created=1.0,
        )
        self.told: list[Event] = []
        events = ExecutionEvents(clock, IdSource(clock, SeededRandomness(1)))
        live = LiveExecution(execution)
        notes = ExecutionLog(live, clock, enabled=True)
        leaving = Leaving(
            live,
            Restart(),
            store=cast(Any, None),
            events=events,
            clock=clock,
            randomness=SeededRandomness(1),
            settings=CheckpointsSection(),
            log=notes,
            check_rest=lambda: None,
            prompt=lambda _execution, _prompt, _now: (),
        )
        self.ctx = RunContext(
            live,
            clock,
            cast(Any, None),
            events,
            self.told.append,
            state=FakeState(),
            goal=None,
            voice=cast(Any, None),
            leaving=leaving,
            notes=notes,
            deadline=None,
        )


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_an_event_belongs_to_the_execution_and_its_owner(rig: Rig) -> None:
    rig.ctx.emit_node_loop_iteration("writer", 3)
    rig.ctx.emit_client_output_delta("text", 5, node_id="writer")
    rig.ctx.emit_custom("note", {"n": 1}, topic="a.b", ephemeral=True)

    first, second, third = rig.told
    assert (first.execution_id, first.session_id, first.correlation_id, first.owner) == ("x1", "s1", "co", "ann")
    assert (first.node_id, first.durable, data_of(first)) == ("writer", True, {"iteration": 3})
    assert (second.durable, second.type) == (False, EventType.CLIENT_OUTPUT_DELTA)
    assert (third.topic, third.custom_type, third.durable, data_of(third)) == ("a.b", "note", False, {"n": 1})
    assert len({event.id for event in rig.told}) == 3


WRONG: Sequence[tuple[EventType, dict[str, Any], dict[str, Any]]] = [
    (EventType.EXECUTION_STARTED, {}, {}),
    (EventType.NODE_STALLED, {}, {}),
    (EventType.CUSTOM, {}, {}),
    (EventType.MESSAGE, {}, {"custom_type": "x"}),
    (EventType.MESSAGE, {}, {"ephemeral": True}),
    (EventType.MESSAGE, {"content": 7}, {}),
    (EventType.MESSAGE, {"nonsense": "x"}, {}),
    (EventType.MESSAGE, {}, {"topic": "a..b"}),
]


@pytest.mark.parametrize(("kind", "data", "envelope"), WRONG)
async def test_what_is_wrong_is_refused_where_it_is_said(
    rig: Rig, kind: EventType, data: dict[str, Any], envelope: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgument):
        rig.ctx.emit(kind, data, **envelope)

    assert rig.told == []
