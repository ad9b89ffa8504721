"""The events that an execution tells of itself."""

from collections.abc import Mapping
from typing import Any

from gatewayd.core.catalogue import CATALOGUE
from gatewayd.core.clock import Clock
from gatewayd.core.event import Event, EventType
from gatewayd.core.ids import IdSource
from gatewayd.core.work import Execution

SOURCE = "gatewayd"
"""The source of everything that the daemon itself says."""


class ExecutionEvents:
    """Makes events with an execution's envelope."""

    def __init__(self, clock: Clock, ids: IdSource) -> None:
        self._clock = clock
        self.ids = ids

    def make(self, execution: Execution, kind: EventType, data: Mapping[str, Any]) -> Event:
        """One event of that type about that execution, for its session's owner."""
        return Event(
            id=self.ids.new(),
            type=kind,
            source=SOURCE,
            stream_id=execution.stream_id,
            time=self._clock.now(),
            execution_id=execution.id,
            session_id=execution.session_id,
            correlation_id=execution.correlation_id,
            owner=execution.principal,
            durable=CATALOGUE[kind].durable,
            data=data,
        )
