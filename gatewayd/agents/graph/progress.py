"""How far an execution has come on its way through a graph; it is what the checkpoints hold."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from gatewayd.agents.base import AgentFailed
from gatewayd.agents.graph.plan import Graph
from gatewayd.config.facts import Facts, Said
from gatewayd.core.clock import Clock
from gatewayd.core.graph_result import GraphResult
from gatewayd.core.value import value

MAX_OUTPUT: Final = 32 * 1024
"""Characters of a node's output that later nodes and conditions get to see; the rest is cut off, with a mark."""
MAX_PATH: Final = 1000
"""Last steps of the path that are kept."""
_SESSION_KEYS: Final = frozenset({"memory", "paused_at"})

Phase = Literal["start", "wait", "done", "ended"]


@value(frozen=True, slots=True)
class Result:
    """What came of one visit to a node."""

    text: str = ""
    error: str = ""
    """Why it failed, fit to be shown to the user; '' where it succeeded."""

    @property
    def ok(self) -> bool:
        return not self.error


class Progress:
    """The place of one execution in its graph, and what its nodes have said."""

    def __init__(self, graph: Graph, task: str, clock: Clock) -> None:
        self._graph = graph
        self._task = Said.of(task)
        self._clock = clock
        self._began = clock.monotonic()
        self._spent = 0.0
        """Seconds of earlier runs."""
        self.tokens = 0
        self.at = graph.entry
        self.phase: Phase = "done"
        """`start`: the node is to be done; `wait`: it waits for input; `done`: what comes next; `ended`: nothing."""
        self.entered = False
        """Whether any node was visited."""
        self.step = 0
        """Visits to nodes so far."""
        self.path: list[str] = []
        self.visits: dict[str, int] = {}
        self.memory: dict[str, Result] = {}
        self.last = Result(task)
        """What the node before has put out; at the beginning the task."""
        self.retries = 0
        self.failures: dict[str, int] = {}
        """Visits that failed for good, by node."""
        self.shown = 0
        """Characters that the client was shown by nodes that face it."""
        self.said = ""
        """What the current node has put out so far."""
        self.prompt = ""
        """For `wait`: what people are asked."""
        self.asked = False
        """Whether the agent of the current node asked for input by itself."""
        self.inner: Mapping[str, Any] | None = None
        """The last checkpoint of the current node's agent."""

    @classmethod
    def of(cls, graph: Graph, task: str, resumed: Mapping[str, Any] | None, clock: Clock) -> "Progress":
        """Where to go on; `AgentFailed` when the graph has lost the node at which the execution was."""
        progress = cls(graph, task, clock)
        if not resumed:
            return progress
        if resumed.keys() <= _SESSION_KEYS:
            progress._take_up(resumed)
        else:
            progress._load(resumed)
        if progress.at not in graph.nodes:
            raise AgentFailed(
                f"The graph {graph.name} has no node {progress.at[:64]} any more, and this execution was at it.",
                cause=f"its nodes now are {', '.join(graph.nodes)}",
            )
        return progress

    def _take_up(self, session: Mapping[str, Any]) -> None:
        """What whoever started it remembers of an earlier execution."""
        memory = session.get("memory") or {}
        for node, text in memory.items() if isinstance(memory, Mapping) else ():
            self.memory[str(node)] = Result(_cut(text if isinstance(text, str) else json.dumps(text)))
        self.at = str(session.get("paused_at") or self.at)

    def enter(self, node: str) -> int:
        """Go to a node; how often it has been visited now. `AgentFailed` when that is too often."""
        count = self.visits[node] = self.visits.get(node, 0) + 1
        if count > self._graph.nodes[node].max_iterations:
            raise AgentFailed(
                f"The graph {self._graph.name} came to its node {node} more than {count - 1} times and was stopped.",
                cause=f"max_iterations of {node}",
            )
        self.at, self.phase, self.entered = node, "start", True
        self.step += 1
        self.path = [*self.path[-(MAX_PATH - 1) :], node]
        self.said, self.prompt, self.asked, self.inner = "", "", False, None
        return count

    def complete(self, result: Result) -> None:
        """The node is done. What comes after one that failed is given what that one was given."""
        if result.ok:
            self.last = self.memory[self.at] = Result(_cut(result.text))
        else:
            self.last = Result(self.last.text, result.error)
            self.failures[self.at] = self.failures.get(self.at, 0) + 1
        self.phase, self.said, self.prompt, self.inner = "done", "", "", None

    def facts(self) -> Facts:
        """What conditions and prompts may ask for."""
        return {
            "success": self.last.ok,
            "failure": not self.last.ok,
            "always": True,
            "error": self.last.error,
            "visits": self.visits.get(self.at, 0),
            "output": Said.of(self.last.text),
            "task": self._task,
            "memory": _Memory(self.memory),
        }

    def state(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "graph": self._graph.name,
            "at": self.at,
            "phase": self.phase,
            "entered": self.entered,
            "spent": self._seconds(),
            "tokens": self.tokens,
            "step": self.step,
            "path": self.path,
            "visits": self.visits,
            "memory": {node: [result.text, result.error] for node, result in self.memory.items()},
            "last": [self.last.text, self.last.error],
            "retries": self.retries,
            "failures": self.failures,
            "shown": self.shown,
            "said": self.said,
            "prompt": self.prompt,
            "asked": self.asked,
            "inner": self.inner,
        }

    def result(self) -> GraphResult:
        """What it has come to so far."""
        return GraphResult(
            self._graph.name,
            tuple(self.path),
            self.step,
            self.retries,
            dict(self.failures),
            self.tokens,
            round(self._seconds(), 6),
        )

    def _seconds(self) -> float:
        return self._spent + self._clock.monotonic() - self._began

    def _load(self, state: Mapping[str, Any]) -> None:
        for key in ("at", "phase", "entered", "step", "retries", "tokens", "shown", "said", "prompt", "asked", "inner"):
            setattr(self, key, state[key])
        self._spent = state["spent"]
        self.path = list(state["path"])
        self.visits, self.failures = dict(state["visits"]), dict(state["failures"])
        self.memory = {node: Result(*pair) for node, pair in state["memory"].items()}
        self.last = Result(*state["last"])


class _Memory(Mapping[str, Said]):
    """What nodes have said; a text is looked into only when somebody asks for it."""

    def __init__(self, results: Mapping[str, Result]) -> None:
        self._results = results

    def __getitem__(self, node: str) -> Said:
        return Said.of(self._results[node].text)

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)


def _cut(text: str) -> str:
    if len(text) <= MAX_OUTPUT:
        return text
    return text[:MAX_OUTPUT] + f"\n[cut: {len(text) - MAX_OUTPUT} more characters]"
