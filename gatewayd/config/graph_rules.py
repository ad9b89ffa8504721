"""What is wrong with graphs as a whole: names of nothing, nodes that nothing leads to, agents that run themselves."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from gatewayd.config.conditions import Condition
from gatewayd.config.facts import check_steps
from gatewayd.config.graphs import MAX_NODES, GraphSection, NodeSection
from gatewayd.config.model import GatewayConfig
from gatewayd.config.problems import Path, one_of, suggest
from gatewayd.config.prompts import faults_in
from gatewayd.core.errors import GatewayError
from gatewayd.core.value import value

Fault = tuple[Path, str, str]
"""Path, what is wrong, what to do."""
_KEYS: Final = ("agent", "tool")


@value(frozen=True, slots=True)
class Known:
    """What graphs may name."""

    agents: Collection[str]
    tools: Collection[str]
    check_function: Callable[[str], object]
    """Raises what is wrong with a function."""
    lacks: Callable[[str, str], bool]
    """Whether something of a part could not be read: a rule says nothing about it."""


def graph_faults(config: GatewayConfig, known: Known) -> Iterator[Fault]:
    """Everything that is wrong with graphs, and with who names them."""
    for name, graph in config.graphs.items():
        if not known.lacks("graphs", name):
            yield from _graph(("graphs", name), graph, known, _entries(config, name))
    for name, entry in config.entry_points.items():
        path: Path = ("entry_points", name)
        if known.lacks("entry_points", name):
            continue
        if (entry.agent is None) == (entry.graph is None):
            both = entry.agent is not None
            key = "graph" if both else "agent"
            what = "an entry point starts an agent or a graph, not both" if both else "it starts nothing"
            yield (*path, key) if both else path, what, "name one of agent and graph"
        if entry.agent is not None and entry.agent not in known.agents:
            yield (*path, "agent"), f"there is no agent {entry.agent}", suggest(entry.agent, known.agents, "agents")
        yield from _named(config, path, entry.graph, known)
        if entry.entry_node is not None:
            yield from _entry_node(config, path, entry.graph, entry.entry_node, known)
    for name, agent in config.agents.items():
        yield from _named(config, ("agents", name), agent.graph, known)
    yield from _circles(config)


def _named(config: GatewayConfig, path: Path, graph: str | None, known: Known) -> Iterator[Fault]:
    if graph is not None and graph not in config.graphs and not known.lacks("graphs", graph):
        yield (*path, "graph"), f"there is no graph {graph}", suggest(graph, config.graphs, "graphs")


def _entry_node(config: GatewayConfig, path: Path, graph: str | None, node: str, known: Known) -> Iterator[Fault]:
    if graph is None:
        yield (*path, "entry_node"), "this is for graphs, and the entry point names none", "leave it out"
    elif (found := config.graphs.get(graph)) and node not in found.nodes and not known.lacks("graphs", graph):
        what = f"the graph {graph} has no node {node}"
        yield (*path, "entry_node"), what, suggest(node, found.nodes, "nodes")


def _entries(config: GatewayConfig, graph: str) -> set[str]:
    """Nodes of a graph that entry points begin with."""
    return {entry.entry_node or "" for entry in config.entry_points.values() if entry.graph == graph} - {""}


def _graph(path: Path, graph: GraphSection, known: Known, entries: set[str]) -> Iterator[Fault]:
    if not graph.nodes:
        yield (*path, "nodes"), "the graph has no nodes", "add one, such as answer: {agent: NAME}"
        return
    if len(graph.nodes) > MAX_NODES:
        yield (*path, "nodes"), f"{len(graph.nodes)} nodes; at most {MAX_NODES} are taken", "make it several graphs"
    for name, node in graph.nodes.items():
        yield from _node((*path, "nodes", name), node, graph, known)
    yield from _edges(path, graph)
    if graph.entry_node is not None and graph.entry_node not in graph.nodes:
        what = f"the graph has no node {graph.entry_node}"
        yield (*path, "entry_node"), what, suggest(graph.entry_node, graph.nodes, "nodes")
    elif not graph.entry:
        led_to = {edge.to for edge in graph.edges if edge.to != edge.source}
        first = [name for name in graph.nodes if name not in led_to]
        several = f"no edge leads to {one_of(first, 5)}" if first else "edges lead to every node"
        yield path, f"the graph has no entry: {several}", "name it in entry_node"
    else:
        reached = _reached(graph, {graph.entry, *entries})
        for name in graph.nodes:
            if name not in reached:
                what = f"no edge leads to the node {name} from where the graph begins, at {graph.entry}"
                yield (*path, "nodes", name), what, "add an edge to it, or take the node out"


def _node(path: Path, node: NodeSection, graph: GraphSection, known: Known) -> Iterator[Fault]:
    for key, what, hint in node.out_of_kind():
        yield (*path, key) if key else path, what, hint
    for key, names in zip(_KEYS, (known.agents, known.tools), strict=True):
        name = getattr(node, key)
        if name is not None and name not in names:
            yield (*path, key), f"there is no {key} {name}", suggest(name, names, f"{key}s")
    if node.function is not None:
        try:
            known.check_function(node.function)
        except GatewayError as error:
            yield (*path, "function"), error.message, ""
    for key in ("prompt", "arguments"):
        for what in faults_in(getattr(node, key), graph.nodes):
            yield (*path, key), what, "places are such as {{task}}, {{output}} and {{memory.NODE.field}}"


def _edges(path: Path, graph: GraphSection) -> Iterator[Fault]:
    seen: dict[tuple[str, str, str], int] = {}
    for number, edge in enumerate(graph.edges):
        here: Path = (*path, "edges", number)
        for key, node in (("from", edge.source), ("to", edge.to)):
            if node not in graph.nodes:
                yield (*here, key), f"the graph has no node {node}", suggest(node, graph.nodes, "nodes")
        first = seen.setdefault((edge.source, edge.to, edge.when or ""), number)
        if first != number:
            what = f"the same edge as edges[{first}], from {edge.source} to {edge.to}"
            yield here, what, "keep one of them, or give them different conditions"
        for steps in sorted(Condition.parse(edge.when).paths if edge.when else ()):
            if wrong := check_steps(steps, graph.nodes):
                yield (*here, "when"), wrong, suggest(steps[-1], graph.nodes, "nodes")


def _reached(graph: GraphSection, entries: set[str]) -> set[str]:
    reached, left = set(entries), list(entries)
    while left:
        node = left.pop()
        following = {edge.to for edge in graph.edges if edge.source == node} - reached
        reached |= following
        left += following
    return reached


def _circles(config: GatewayConfig) -> Iterator[Fault]:
    """An agent that is a graph whose nodes come back to the agent would run for ever inside of itself."""
    inner: Mapping[str, list[str]] = {
        name: [node.agent for node in config.graphs[agent.graph].nodes.values() if node.agent]
        if agent.graph in config.graphs
        else []
        for name, agent in config.agents.items()
        if agent.graph
    }
    done: set[str] = set()
    for start in inner:
        if start in done:
            continue
        if circle := _circle(start, inner, done):
            way = " → ".join([*circle, circle[0]])
            what = f"the agent runs itself, by its graph: {way}"
            yield ("agents", circle[0], "graph"), what, "take the agent out of the graph's nodes"


def _circle(start: str, inner: Mapping[str, list[str]], done: set[str]) -> list[str]:
    """The first way from an agent back to one that is on it; [] when there is none. Without recursion."""
    way, branches = [start], [iter(inner[start])]
    while way:
        following = next(branches[-1], None)
        if following is None:
            done.add(way.pop())
            branches.pop()
        elif following in way:
            done.update(way)
            return way[way.index(following) :]
        elif following in inner and following not in done:
            way.append(following)
            branches.append(iter(inner[following]))
    return []


__all__ = ["Known", "graph_faults"]
