"""The events that an execution tells of itself."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gatewayd.core.catalogue import CATALOGUE
from gatewayd.core.checkpoint import BegunCall, Restart
from gatewayd.core.clock import Clock
from gatewayd.core.event import Event, EventType
from gatewayd.core.ids import IdSource
from gatewayd.core.work import Execution
from gatewayd.storage.records import Published
from gatewayd.wire import data_of

SOURCE = "gatewayd"
"""The source of everything that the daemon itself says."""
_NAMED = 100
"""Tool calls that were cut off, of which so many are named, the oldest; of the others it is said how many they are."""
_MAX_NAME = 256
"""Characters that are kept of what a tool call is called."""


def interruption(why: str, restart: Restart) -> Mapping[str, Any]:
    """The data of `execution_interrupted`: why, from where the next run goes on, and which tool calls were cut off."""
    made = restart.checkpoint
    where = f"it goes on from checkpoint {made.id}" if made is not None else "it begins anew"
    if made is not None and made.node_id:
        where += f" of node {made.node_id}"
    calls = [str(call) for call in restart.begun[:_NAMED]]
    more = f" and {len(restart.begun) - _NAMED} more" if len(restart.begun) > _NAMED else ""
    cut = f"; cut off within {', '.join(calls)}{more}, which may have had its effect" if calls else ""
    return {
        "reason": f"{why}; {where}{cut}",
        "checkpoint_id": made.id if made is not None else "",
        "begun_calls": calls,
    }


def with_call(told: Published, teller: str = "") -> Published:
    """With the tool call that it tells of, if it does. Of what `teller` tells, another's call has not the same id."""
    event = told.event
    if event.type not in (EventType.TOOL_CALL_STARTED, EventType.TOOL_CALL_COMPLETED):
        return told
    data = data_of(event)
    call_id = (f"{teller}/" if teller else "") + data["tool_use_id"]
    if event.type is EventType.TOOL_CALL_COMPLETED:
        return replace(told, ends=call_id[:_MAX_NAME])
    call = BegunCall(event.execution_id, call_id[:_MAX_NAME], data["tool_name"][:_MAX_NAME], event.time)
    return replace(told, begins=call)


class ExecutionEvents:
    """Makes events with an execution's envelope. `unheard` is the bus's: whether one that is not kept is for nobody."""

    def __init__(self, clock: Clock, ids: IdSource, unheard: Callable[[EventType], bool] = lambda _kind: False) -> None:
        self._clock = clock
        self.ids = ids
        self.unheard = unheard

    def make(
        self,
        execution: Execution,
        kind: EventType,
        data: Mapping[str, Any],
        *,
        node_id: str = "",
        topic: str = "",
        custom_type: str = "",
        durable: bool | None = None,
    ) -> Event:
        """One event of that type about that execution, for its session's owner; `durable` by the catalogue if None."""
        return Event(
            id=self.ids.new(),
            type=kind,
            source=SOURCE,
            stream_id=execution.stream_id,
            time=self._clock.now(),
            node_id=node_id,
            execution_id=execution.id,
            session_id=execution.session_id,
            correlation_id=execution.correlation_id,
            topic=topic,
            custom_type=custom_type,
            owner=execution.principal,
            durable=CATALOGUE[kind].durable if durable is None else durable,
            data=data,
        )
