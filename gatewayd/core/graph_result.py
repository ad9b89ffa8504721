"""What an execution of a graph comes to, in figures."""

import json
from collections.abc import Mapping
from dataclasses import field

from gatewayd.core.value import value
from gatewayd.core.work import ExecutionState


@value(frozen=True, slots=True)
class GraphResult:
    """Where it went, and what that took."""

    graph: str
    path: tuple[str, ...] = ()
    """Nodes in the order of their visits: the last thousand."""
    steps: int = 0
    """Visits in all."""
    retries: int = 0
    """Tries of nodes beyond the first of each visit."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Visits that failed for good, by node; those without are not there."""
    tokens: int = 0
    """What models have read and written for it, as their providers count; 0 where they do not say."""
    seconds: float = 0.0
    """Time at work: without that in a queue, at rest, or lost in a crash."""

    def quality(self, state: ExecutionState) -> str:
        """`clean`, `degraded` by nodes that failed or were tried again, or `failed`; '' before the end."""
        if not state.terminal:
            return ""
        if state is not ExecutionState.SUCCEEDED:
            return "failed"
        return "degraded" if self.retries or self.failures else "clean"

    def to_json(self) -> str:
        """Its text, as it is kept."""
        values = (self.graph, self.path, self.steps, self.retries, dict(self.failures), self.tokens, self.seconds)
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "GraphResult":
        """The result of such a text."""
        graph, path, steps, retries, failures, tokens, seconds = json.loads(text)
        return cls(graph, tuple(path), steps, retries, failures, tokens, seconds)
