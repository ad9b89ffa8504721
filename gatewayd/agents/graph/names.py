"""What an execution says of who runs it, where that is a graph and no agent: `graph:GRAPH`, `graph:GRAPH:NODE`.

No agent can be called so: names have no ':' in them.
"""

from typing import Final

_PREFIX: Final = "graph:"


def runner(graph: str, entry_node: str | None = None) -> str:
    """The name for a graph that begins at that node, or at its own entry."""
    return f"{_PREFIX}{graph}:{entry_node}" if entry_node else f"{_PREFIX}{graph}"


def graph_of(name: str) -> tuple[str, str] | None:
    """Graph and entry node ('' for its own) of such a name; None for the name of an agent."""
    if not name.startswith(_PREFIX):
        return None
    graph, _, node = name.removeprefix(_PREFIX).partition(":")
    return graph, node


def speaker(name: str) -> str:
    """Whose messages those of an execution are, by a name that an agent may have: its agent, or `graph.GRAPH`."""
    graph = graph_of(name)
    return f"graph.{graph[0]}" if graph is not None else name
