"""Calls for which nobody is there: so many may wait, and while they wait they take no place from work that goes on."""

from collections.abc import Callable

from gatewayd.agents.calls import OpenCall

MAX_ABSENT = 1000
"""Calls that wait for a worker to come, of all agents together; a further one is told at once that nobody is there."""


class Absence:
    """Which calls wait so. One that did waits so until a worker has it, or it ends."""

    def __init__(self) -> None:
        self.on_change: Callable[[str, bool], None] = lambda _execution_id, _needs_place: None
        """Told of an execution with a call that begins (False) or ends (True) to wait."""
        self.on_arrival: Callable[[str], None] = lambda _agent: None
        """Told of an agent with a worker that takes calls from now on."""
        self._calls: dict[OpenCall, None] = {}

    def begin(self, call: OpenCall) -> bool:
        """Nobody is there for it; whether it may wait."""
        if call not in self._calls:
            if len(self._calls) >= MAX_ABSENT:
                return False
            self._calls[call] = None
            self.on_change(call.execution_id, False)
        return True

    def end(self, call: OpenCall) -> None:
        """Somebody has it, or nobody wants it any more; harmless if it did not wait."""
        if call in self._calls:
            del self._calls[call]
            self.on_change(call.execution_id, True)
