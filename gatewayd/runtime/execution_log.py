"""Writing the log of one execution, where `runtime.execution_log` wants one."""

from gatewayd.core.clock import Clock
from gatewayd.core.execution_log import MAX_TEXT, LogEntry, LogKind
from gatewayd.runtime.live import LiveExecution
from gatewayd.wire.values import valid_text


class ExecutionLog:
    """Entries wait with the live execution until the next unit that belongs to it takes them to disk."""

    def __init__(self, live: LiveExecution, clock: Clock, *, enabled: bool) -> None:
        self._live = live
        self._clock = clock
        self._enabled = enabled

    def note(
        self, kind: LogKind, text: str, node_id: str = "", *, input_tokens: int = 0, output_tokens: int = 0
    ) -> None:
        """Add one entry."""
        if self._enabled:
            text = valid_text(text[:MAX_TEXT])
            self._live.log.append(LogEntry(self._clock.now(), kind, text, node_id, input_tokens, output_tokens))
