"""A graph as it is walked: its nodes, and for each the edges that lead away, with their conditions read."""

from collections.abc import Mapping

from gatewayd.config.conditions import Condition
from gatewayd.config.facts import Facts
from gatewayd.config.graphs import GraphSection, NodeSection
from gatewayd.core.value import value


@value(frozen=True, slots=True)
class Edge:
    """What may come next."""

    to: str
    when: Condition | None
    """None: where the node succeeded."""

    def fits(self, facts: Facts) -> bool:
        """Whether it is taken."""
        return bool(facts["success"]) if self.when is None else self.when.holds(facts)


@value(frozen=True, slots=True)
class Graph:
    """One graph of one configuration."""

    name: str
    entry: str
    nodes: Mapping[str, NodeSection]
    edges: Mapping[str, tuple[Edge, ...]]
    """By the node that they lead away from, in the order of the file; none for a node that ends the graph."""

    @classmethod
    def of(cls, name: str, section: GraphSection, entry: str = "") -> "Graph":
        """The graph of a section that has no faults, beginning at `entry` instead of its own entry."""
        edges: dict[str, tuple[Edge, ...]] = {}
        for each in section.edges:
            when = Condition.parse(each.when) if each.when else None
            edges[each.source] = (*edges.get(each.source, ()), Edge(each.to, when))
        return cls(name, entry or section.entry, section.nodes, edges)

    def after(self, node: str, facts: Facts) -> str | None:
        """The node that comes next; None where the graph ends."""
        return next((edge.to for edge in self.edges.get(node, ()) if edge.fits(facts)), None)

    def waits(self, node: str) -> bool:
        """Whether the node waits for input; one that only faces the client does not where nothing comes after it."""
        section = self.nodes[node]
        return section.waits and (section.input is not None or bool(self.edges.get(node)))
