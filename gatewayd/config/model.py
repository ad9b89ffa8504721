"""What gateway.yaml says, as frozen values. Every key that is not here is an unknown key.

The loader makes these; every part of the daemon takes its own section in its constructor. Descriptions are complete
sentences with unit, default, range and the meaning of 0, because the reference page is made of them.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from gatewayd.config.agents import AgentKindSection
from gatewayd.config.channels import ROUTES, ChannelSection, ChannelSessionSection
from gatewayd.config.entry_points import EntryPointSection, RuntimeSection
from gatewayd.config.fields import (
    DAY,
    HOUR,
    Duration,
    Length,
    Line,
    Name,
    Number,
    Prose,
    Url,
    Whole,
    instant,
    names,
    sha256_hex,
)
from gatewayd.config.gateway import GatewaySection, LimitsSection, LoggingSection, SessionConfigSection
from gatewayd.config.goals import GoalSection
from gatewayd.config.graphs import GraphSection
from gatewayd.config.http import HttpSection
from gatewayd.config.push import PushSection
from gatewayd.config.retention import BusSection, HistorySection, Retention, RetentionSection, StorageSection
from gatewayd.config.section import Section, setting
from gatewayd.config.webhooks import WebhookSection
from gatewayd.core.secret import Secret

_LATER = "not in this version"


class AgentSection(AgentKindSection):
    """`agents.<id>`: one agent; without `class`, `graph` and `remote` a model answers for it."""

    ALIASES: ClassVar[Mapping[str, str]] = MappingProxyType({"system_prompt": "instructions", "llm": "model"})
    HINTS: ClassVar[Mapping[str, str]] = MappingProxyType(dict.fromkeys(("memory", "budget"), _LATER))

    instructions: Prose = setting(
        default="", description="What the agent is told before every answer. Alias: `system_prompt`."
    )
    model: Line | None = setting(
        default=None,
        description="Model that answers, such as `offline/assistant`. Default: provider.model. Alias: `llm`.",
    )
    fallback_models: Annotated[tuple[Line, ...], names] = setting(
        default=(), description="Models that are tried in this order when the one before fails. Default: none."
    )
    temperature: Annotated[float, Number(0, 2)] | None = setting(
        default=None, description="How free the model is, 0 to 2. Default: the model's own."
    )
    max_tokens: Annotated[int, Whole(1, 10_000_000)] | None = setting(
        default=None, description="Longest answer, in tokens, 1 to 10000000. Default: the model's own."
    )
    tools: Annotated[tuple[Line, ...], names] | None = setting(
        default=None,
        description="Names of the tools it may call. `[]`: none. Default: the ones that come with gatewayd.",
    )
    tool_choice: Literal["auto", "required", "none"] = setting(
        default="auto",
        description="Whether the model calls tools: `auto` (default) as it sees fit, `required`, or `none`.",
    )
    base_url: Url | None = setting(default=None, description="Address of the model server. Default: provider.base_url.")
    api_key: Secret | None = setting(default=None, description="Key for the model server. Default: provider.api_key.")
    role: Prose = setting(default="", description="Who the agent is; joins the instructions.")
    goal: Prose = setting(default="", description="What the agent is to reach; joins the instructions after `role`.")
    backstory: Prose = setting(default="", description="What the agent should know of itself; joins after `goal`.")
    timeout: Annotated[float, Duration(0.1, DAY)] = setting(
        default=120.0, description="Longest time for one answer, tools included. Default 2m, 100ms to 1d."
    )
    max_steps: Annotated[int, Whole(1, 1000)] = setting(
        default=20, description="Most calls of the model for one answer. Default 20, 1 to 1000."
    )
    greeting: Prose = setting(default="", description="What a new chat begins with. Default: nothing.")

    def system_prompt(self) -> str:
        """Instructions, role, goal and backstory in this order, with an empty line between; absent ones leave none."""
        labelled = (("Role", self.role), ("Goal", self.goal), ("Backstory", self.backstory))
        parts = [self.instructions.strip(), *(f"{label}: {text.strip()}" for label, text in labelled if text.strip())]
        return "\n\n".join(part for part in parts if part)


class ProviderSection(Section):
    """`provider`: what holds for every agent that does not say otherwise."""

    model: Line | None = setting(
        default=None, description="Model of agents that name none. Default: none, each agent names its own."
    )
    base_url: Url | None = setting(default=None, description="Address of the model server. Default: the model's own.")
    api_key: Secret | None = setting(
        default=None, description="Key for the model server. Default: what the model's library finds."
    )
    timeout: Annotated[float, Duration(0.1, HOUR)] = setting(
        default=60.0, description="Longest wait for one call of a model. Default 1m, 100ms to 1h."
    )
    retries: Annotated[int, Whole(0, 10)] = setting(
        default=2, description="How often a failed call of a model is repeated. Default 2, to 10; 0: never."
    )


class ClientSection(Section):
    """`clients.<id>`: a client that authenticates with a token of its own."""

    HINTS: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"token": "only the SHA-256 of a token is kept: `gatewayctl token new` prints the token_sha256 line"}
    )

    token_sha256: Annotated[
        tuple[Annotated[str, sha256_hex], ...],
        names,
        Length(1, 2),
    ] = setting(
        description="SHA-256 of a token of `gatewayctl token new`, in hexadecimal; two while one replaces another."
    )
    scopes: Annotated[tuple[Line, ...], names] = setting(
        default=(), description="What it may do, such as `agents.send:*` or `admin.read`. Default: nothing."
    )
    expires: Annotated[datetime, instant] | None = setting(
        default=None,
        description="When the token stops working, ISO 8601, UTC unless it says otherwise. Default: never.",
    )


class GatewayConfig(Section):
    """The whole of gateway.yaml."""

    HINTS: ClassVar[Mapping[str, str]] = MappingProxyType(
        dict.fromkeys(
            ("schedules", "guardrails", "tools"),
            _LATER,
        )
        | {"routing": "routing stands inside each channel: channels.<name>.routing"}
    )

    gateway: GatewaySection = setting(default=GatewaySection(), description="The daemon itself.")
    agents: dict[Name, AgentSection] = setting(default={}, description="Agents by name.")
    channels: dict[Name, ChannelSection] = setting(default={}, description="Connections to chat platforms by name.")
    provider: ProviderSection = setting(default=ProviderSection(), description="What holds for every agent's model.")
    clients: dict[Name, ClientSection] = setting(default={}, description="Clients with a token of their own, by name.")
    storage: StorageSection = setting(default=StorageSection(), description="Where state is kept, and for how long.")
    bus: BusSection = setting(default=BusSection(), description="The event bus.")
    push: PushSection = setting(default=PushSection(), description="Topics on which clients meet.")
    webhooks: dict[Name, WebhookSection] = setting(default={}, description="Where others tell us by HTTP, by source.")
    runtime: RuntimeSection = setting(default=RuntimeSection(), description="How much runs at once.")
    entry_points: dict[Name, EntryPointSection] = setting(
        default={}, description="Named ways to start an agent: by a call, an event, or the time."
    )
    goals: dict[Name, GoalSection] = setting(default={}, description="What executions of entry points are to reach.")
    graphs: dict[Name, GraphSection] = setting(default={}, description="Several steps, one after another, by name.")

    @property
    def opens_http(self) -> bool:
        """Whether anything is served over HTTP."""
        return self.gateway.http.websocket or self.push.polling.http or bool(self.webhooks)


__all__ = [
    "ROUTES",
    "AgentSection",
    "BusSection",
    "ChannelSection",
    "ChannelSessionSection",
    "ClientSection",
    "EntryPointSection",
    "GatewayConfig",
    "GatewaySection",
    "GoalSection",
    "GraphSection",
    "HistorySection",
    "HttpSection",
    "LimitsSection",
    "LoggingSection",
    "ProviderSection",
    "PushSection",
    "Retention",
    "RetentionSection",
    "RuntimeSection",
    "Section",
    "SessionConfigSection",
    "StorageSection",
    "WebhookSection",
]
