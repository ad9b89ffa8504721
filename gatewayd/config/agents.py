"""What of an agent says who answers for it, where that is no model: a Python class, a graph, or workers."""

from collections.abc import Iterator
from typing import Any, Final

from gatewayd.config.fields import Flag, Line, Name
from gatewayd.config.messages import AgentMessagesSection
from gatewayd.config.section import setting

OF_MODELS: Final = (
    "instructions",
    "model",
    "fallback_models",
    "temperature",
    "max_tokens",
    "tools",
    "tool_choice",
    "base_url",
    "api_key",
    "role",
    "goal",
    "backstory",
    "max_steps",
)
"""Keys of an agent that mean something only where a model answers."""


class AgentKindSection(AgentMessagesSection):
    """The part of `agents.<id>` that says what kind of agent it is."""

    python_class: Line | None = setting(
        key="class",
        default=None,
        description="A Python agent: `module:Factory`, or the name of an entry point of the group gatewayd.agents. "
        "Default: none, a model answers.",
    )
    options: dict[str, Any] = setting(
        default={}, description="What the factory of `class` is given, free in form. No place for secrets. Default: {}."
    )
    remote: Flag = setting(
        default=False,
        description="Whether programs answer that register for this agent over gRPC (workers). Default false.",
    )

    graph: Name | None = setting(
        default=None, description="The graph that answers, of those in `graphs`. Default: none, a model answers."
    )

    @property
    def is_model(self) -> bool:
        """Whether a model answers."""
        return not self.python_class and not self.remote and not self.graph

    def out_of_kind(self, written: frozenset[str]) -> Iterator[tuple[str, str]]:
        """Keys that do not fit the kind, and what is wrong with each; `written` are those that the file has."""
        if self.python_class and self.remote:
            yield "remote", "an agent is a Python class or served by workers, not both"
        if self.graph and (self.python_class or self.remote):
            yield "graph", "an agent is a graph, a Python class or served by workers, only one of them"
        if self.options and not self.python_class:
            yield "options", "options are what the factory of class is given, and there is no class"
        if not self.is_model:
            kind = "class" if self.python_class else "remote" if self.remote else "graph"
            for key in OF_MODELS:
                if key in written:
                    yield key, f"this is for agents that a model answers for, and the agent has {kind}"
