"""The section `graphs`: nodes that do something each, and edges that say what comes next."""

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from gatewayd.config.conditions import condition
from gatewayd.config.fields import DAY, Duration, Flag, Length, Line, Name, Prose, Whole
from gatewayd.config.section import Section, setting

NodeKind = Literal["agent", "tool", "function", "router"]

MAX_NODES: Final = 200
_DOERS: Final = ("agent", "tool", "function")
_OF_KIND: Final = {
    "agent": frozenset({"agent", "prompt"}),
    "tool": frozenset({"tool", "arguments"}),
    "function": frozenset({"function", "arguments"}),
    "router": frozenset({"prompt"}),
}
TOOL_TIMEOUT: Final = 30.0
"""Seconds that a tool is given in any case."""
_OF_DOERS: Final = ("retries", "timeout", "stall_timeout")


class NodeSection(Section):
    """`graphs.<id>.nodes.<id>`: one step."""

    kind: NodeKind | None = setting(
        default=None,
        description="What does it: `agent`, `tool`, `function`, or `router`, which does nothing but choose the edge, "
        "and hands on what it was given. Default: the one of agent, tool and function that is named.",
    )
    agent: Name | None = setting(default=None, description="For `agent`: the agent that is asked.")
    tool: Line | None = setting(default=None, description="For `tool`: the tool that is called.")
    function: Line | None = setting(
        default=None, description="For `function`: `module:function`, an async function that takes one NodeCall."
    )
    prompt: Prose = setting(
        default="",
        description="For `agent`: what it is asked. For a `router` that waits for input: what people are asked. "
        "`{{task}}`, `{{output}}`, `{{memory.NODE}}` and paths below them are filled in. Default: {{output}}, which at "
        "the entry node is the task.",
    )
    arguments: dict[str, Any] | None = setting(
        default=None,
        description="For `tool` and `function`: the arguments; texts in them are filled in like prompts. Default: the "
        "output of the node before if that is a JSON object, else none.",
    )
    client_facing: Flag = setting(
        default=False,
        description="Whether its text is for the client: it is told by client_output_delta, and the node then waits "
        "for input; the text of any other is told by node_internal_output. Default false.",
    )
    input: Flag | None = setting(
        default=None,
        description="Whether it waits for input when it has done its work; what is said then is its output. Default: "
        "as client_facing, but not where no edge leads on.",
    )
    max_iterations: Annotated[int, Whole(1, 10_000)] = setting(
        default=10, description="How often one execution may come to it. Default 10, 1 to 10000."
    )
    retries: Annotated[int, Whole(0, 10)] = setting(
        default=0, description="How often it is tried again when it fails. Default 0, to 10."
    )
    timeout: Annotated[float, Duration(0.1, DAY)] | None = setting(
        default=None,
        description="Longest time for one try. Default: the agent's own; 30s for tools, which is the most, and for "
        "functions.",
    )
    stall_timeout: Annotated[float, Duration(0.1, DAY)] | None = setting(
        default=None,
        description="After so long without a sign of progress node_stalled is told, once for each silence. Default: "
        "never.",
    )

    @property
    def does(self) -> NodeKind | None:
        """Its kind; None where it does not say which."""
        if self.kind is not None:
            return self.kind
        named = [kind for kind in _DOERS if getattr(self, kind)]
        return named[0] if len(named) == 1 else None  # type: ignore[return-value]

    @property
    def waits(self) -> bool:
        """Whether it waits for input."""
        return self.client_facing if self.input is None else self.input

    def out_of_kind(self) -> Iterator[tuple[str, str, str]]:
        """Keys that do not fit: which, what is wrong, what to do."""
        kind = self.does
        if kind is None:
            named = [each for each in _DOERS if getattr(self, each)]
            what = "the node does more than one thing" if named else "the node does nothing"
            yield "", what, "name one of agent, tool and function, or write kind: router"
            return
        if kind in _DOERS and not getattr(self, kind):
            yield "kind", f"a node of kind {kind} names its {kind}", f"write {kind}: NAME"
        for key in (*_DOERS, "prompt", "arguments"):
            if getattr(self, key) not in ("", None) and key not in _OF_KIND[kind]:
                yield key, f"this is not for nodes of kind {kind}", "leave it out, or make it another node"
        if kind == "tool" and (self.timeout or 0.0) > TOOL_TIMEOUT:
            yield "timeout", f"no tool call takes longer than {TOOL_TIMEOUT:g}s", "leave it out, or make it shorter"
        if kind == "router":
            for key in _OF_DOERS:
                if getattr(self, key):
                    yield key, "this is for nodes that do something, and a router does not", "leave it out"
            if self.prompt and not self.waits:
                yield "prompt", "nobody is asked: the router waits for no input", "write input: true, or leave it out"


class EdgeSection(Section):
    """One entry of `graphs.<id>.edges`: what may come after a node."""

    source: Name = setting(key="from", description="The node that it leads away from.")
    to: Name = setting(description="The node that it leads to.")
    when: Annotated[str, condition] | None = setting(
        default=None,
        description="The condition under which it is taken; see docs/reference/graphs.md. Default: success.",
    )


class GraphSection(Section):
    """`graphs.<id>`: several steps, one after another, that an entry point or an agent runs."""

    description: Prose = setting(default="", description="What it is for, for people.")
    entry_node: Name | None = setting(
        default=None, description="The node that it begins with. Default: the one that no edge leads to."
    )
    timeout: Annotated[float, Duration(0.1, DAY)] = setting(
        default=600.0,
        description="Longest time that one run takes until it ends or waits, where an entry point starts it; an agent "
        "has its own. Default 10m, 100ms to 1d.",
    )
    nodes: dict[Name, NodeSection] = setting(description="Its nodes by name, at most 200.")
    edges: Annotated[tuple[EdgeSection, ...], Length(0, 1000)] = setting(
        default=(),
        description="What comes after what. Those of a node are tried in this order; where none fits the graph ends.",
    )

    @property
    def entry(self) -> str:
        """The node that it begins with; '' where that is not known."""
        if self.entry_node is not None:
            return self.entry_node
        led_to = {edge.to for edge in self.edges if edge.to != edge.source}
        first = [name for name in self.nodes if name not in led_to]
        return first[0] if len(first) == 1 else ""


__all__ = ["MAX_NODES", "EdgeSection", "GraphSection", "NodeKind", "NodeSection"]
