"""What gateway.yaml says, as frozen values. Every key that is not here is an unknown key.

The loader makes these; every part of the daemon takes its own section in its constructor. Descriptions are complete
sentences with unit, default, range and the meaning of 0, because the reference page is made of them.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from gatewayd.config.channels import ROUTES, ChannelSection, ChannelSessionSection
from gatewayd.config.fields import (
    DAY,
    HOUR,
    KIB,
    MIB,
    YEAR,
    Duration,
    Flag,
    Line,
    Name,
    Number,
    Prose,
    Section,
    Size,
    Url,
    Whole,
    instant,
    names,
    sha256_hex,
    socket_path,
)
from gatewayd.config.retention import BusSection, HistorySection, Retention, RetentionSection, StorageSection
from gatewayd.core.secret import Secret

_LATER = "not in this version"
_Rate = Annotated[float, BeforeValidator(Number(0, 1_000_000))]


class SessionConfigSection(Section):
    """`gateway.session_config`: bounds of every conversation."""

    timeout: Annotated[float, BeforeValidator(Duration(1.0, YEAR))] = Field(
        default=3600.0, description="A conversation idle for this long is ended. Default 1h, 1s to 365d."
    )
    max_messages: Annotated[int, BeforeValidator(Whole(0, 1_000_000))] = Field(
        default=1000,
        description="Messages of history kept per conversation; the oldest go first. Default 1000, to 1000000; 0: no "
        "bound by number, max_bytes still holds.",
    )
    persist: Flag = Field(default=True, description="Whether conversations survive a restart. Default true.")
    max_bytes: Annotated[int, BeforeValidator(Size(1 * KIB, 1024 * MIB))] = Field(
        default=1 * MIB, description="Size of the history kept per conversation. Default 1MiB, 1KiB to 1GiB."
    )


class LoggingSection(Section):
    """`gateway.logging`: what is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least grave entries that are written: debug, info (default), warning or error."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="`text` (default): a line for people; `json`: one object per line."
    )


class LimitsSection(Section):
    """`gateway.limits`: bounds of what one client may ask."""

    message_bytes: Annotated[int, BeforeValidator(Size(4 * KIB, 256 * MIB))] = Field(
        default=4 * MIB,
        description="Largest message of a client. Default 4MiB, 4KiB to 256MiB. A change needs a restart.",
    )
    metadata_bytes: Annotated[int, BeforeValidator(Size(1 * KIB, 1 * MIB))] = Field(
        default=16 * KIB,
        description="Largest metadata of a call. Default 16KiB, 1KiB to 1MiB. A change needs a restart.",
    )
    streams_per_client: Annotated[int, BeforeValidator(Whole(1, 100_000))] = Field(
        default=100, description="Calls that one client may have open at a time. Default 100, 1 to 100000."
    )
    publish_rate: _Rate = Field(
        default=0.0, description="Events that one client may publish per second. 0 (default): no bound; to 1000000."
    )
    send_rate: _Rate = Field(
        default=0.0,
        description="Messages that one client may send to agents per second. 0 (default): no bound; to 1000000.",
    )
    queue_bytes: Annotated[int, BeforeValidator(Size(64 * KIB, 1024 * MIB))] = Field(
        default=4 * MIB,
        description="Events that may wait for one subscriber, by size; beyond it the subscription's own rule for slow "
        "readers holds. Default 4MiB, 64KiB to 1GiB.",
    )


class GatewaySection(Section):
    """`gateway`: the daemon itself."""

    HINTS: ClassVar[Mapping[str, str]] = MappingProxyType(
        dict.fromkeys(("http", "ssl_cert", "ssl_key", "ssl_client_ca"), _LATER)
    )

    host: Line = Field(
        default="127.0.0.1",
        description="Address that gRPC listens on: a loopback address or `localhost`; others are refused until TLS is "
        "served. Default 127.0.0.1. A change needs a restart.",
    )
    port: Annotated[int, BeforeValidator(Whole(0, 65535))] = Field(
        default=8765, description="TCP port of gRPC. Default 8765; 0: any free port. A change needs a restart."
    )
    socket: Annotated[str, BeforeValidator(socket_path)] | None = Field(
        default=None,
        description="Path of the unix socket. Default: gatewayd.sock in the runtime directory. A change "
        "needs a restart.",
    )
    auth_token: Secret | None = Field(
        default=None,
        description="Token of the client `default`, which may do everything. Default: one is made at the first start "
        "and kept in a file that only the daemon's user can read.",
    )
    strict: Flag = Field(
        default=False,
        description="Whether variables that are not set, secrets written in the file and secret files that others can "
        "read are errors. Default false.",
    )
    max_connections: Annotated[int, BeforeValidator(Whole(1, 1_000_000))] = Field(
        default=1000, description="Connect streams open at a time; one more is told to come back later. Default 1000."
    )
    max_sessions_per_agent: Annotated[int, BeforeValidator(Whole(0, 100_000_000))] = Field(
        default=0, description="Conversations that one agent may have at a time. 0 (default): no bound; to 100000000."
    )
    heartbeat_interval: Annotated[float, BeforeValidator(Duration(1.0, HOUR))] = Field(
        default=30.0, description="Time between two signs of life on an idle connection. Default 30s, 1s to 1h."
    )
    reconnect_timeout: Annotated[float, BeforeValidator(Duration(0.0, DAY))] = Field(
        default=60.0,
        description="How long the subscriptions and pending replies of a client that was cut off wait for it. Default "
        "1m, to 1d; 0: not at all.",
    )
    drain_timeout: Annotated[float, BeforeValidator(Duration(0.0, HOUR))] = Field(
        default=10.0, description="How long a stop waits for running work. Default 10s, to 1h; 0: not at all."
    )
    session_config: SessionConfigSection = Field(
        default=SessionConfigSection(), description="Bounds of every conversation."
    )
    logging: LoggingSection = Field(default=LoggingSection(), description="What is logged, and how.")
    limits: LimitsSection = Field(default=LimitsSection(), description="Bounds of what one client may ask.")


class AgentSection(Section):
    """`agents.<id>`: one agent that a model answers for."""

    ALIASES: ClassVar[Mapping[str, str]] = MappingProxyType({"system_prompt": "instructions", "llm": "model"})
    HINTS: ClassVar[Mapping[str, str]] = MappingProxyType(
        dict.fromkeys(("class", "graph", "memory", "budget", "concurrency"), _LATER)
    )

    instructions: Prose = Field(
        default="", description="What the agent is told before every answer. Alias: `system_prompt`."
    )
    model: Line | None = Field(
        default=None,
        description="Model that answers, such as `offline/assistant`. Default: provider.model. Alias: `llm`.",
    )
    fallback_models: Annotated[tuple[Line, ...], BeforeValidator(names)] = Field(
        default=(), description="Models that are tried in this order when the one before fails. Default: none."
    )
    temperature: Annotated[float, BeforeValidator(Number(0, 2))] | None = Field(
        default=None, description="How free the model is, 0 to 2. Default: the model's own."
    )
    max_tokens: Annotated[int, BeforeValidator(Whole(1, 10_000_000))] | None = Field(
        default=None, description="Longest answer, in tokens, 1 to 10000000. Default: the model's own."
    )
    tools: Annotated[tuple[Line, ...], BeforeValidator(names)] | None = Field(
        default=None,
        description="Names of the tools it may call. `[]`: none. Default: the ones that come with gatewayd.",
    )
    tool_choice: Literal["auto", "required", "none"] = Field(
        default="auto",
        description="Whether the model calls tools: `auto` (default) as it sees fit, `required`, or `none`.",
    )
    base_url: Url | None = Field(default=None, description="Address of the model server. Default: provider.base_url.")
    api_key: Secret | None = Field(default=None, description="Key for the model server. Default: provider.api_key.")
    role: Prose = Field(default="", description="Who the agent is; joins the instructions.")
    goal: Prose = Field(default="", description="What the agent is to reach; joins the instructions after `role`.")
    backstory: Prose = Field(default="", description="What the agent should know of itself; joins after `goal`.")
    timeout: Annotated[float, BeforeValidator(Duration(0.1, DAY))] = Field(
        default=120.0, description="Longest time for one answer, tools included. Default 2m, 100ms to 1d."
    )
    max_steps: Annotated[int, BeforeValidator(Whole(1, 1000))] = Field(
        default=20, description="Most calls of the model for one answer. Default 20, 1 to 1000."
    )
    greeting: Prose = Field(default="", description="What a new chat begins with. Default: nothing.")

    def system_prompt(self) -> str:
        """Instructions, role, goal and backstory in this order, with an empty line between; absent ones leave none."""
        labelled = (("Role", self.role), ("Goal", self.goal), ("Backstory", self.backstory))
        parts = [self.instructions.strip(), *(f"{label}: {text.strip()}" for label, text in labelled if text.strip())]
        return "\n\n".join(part for part in parts if part)


class ProviderSection(Section):
    """`provider`: what holds for every agent that does not say otherwise."""

    model: Line | None = Field(
        default=None, description="Model of agents that name none. Default: none, each agent names its own."
    )
    base_url: Url | None = Field(default=None, description="Address of the model server. Default: the model's own.")
    api_key: Secret | None = Field(
        default=None, description="Key for the model server. Default: what the model's library finds."
    )
    timeout: Annotated[float, BeforeValidator(Duration(0.1, HOUR))] = Field(
        default=60.0, description="Longest wait for one call of a model. Default 1m, 100ms to 1h."
    )
    retries: Annotated[int, BeforeValidator(Whole(0, 10))] = Field(
        default=2, description="How often a failed call of a model is repeated. Default 2, to 10; 0: never."
    )


class ClientSection(Section):
    """`clients.<id>`: a client that authenticates with a token of its own."""

    HINTS: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"token": "only the SHA-256 of a token is kept: `gatewayctl token new` prints the token_sha256 line"}
    )

    token_sha256: Annotated[
        tuple[Annotated[str, BeforeValidator(sha256_hex)], ...],
        BeforeValidator(names),
        Field(min_length=1, max_length=2),
    ] = Field(description="SHA-256 of its token in hexadecimal; a list of two while one token replaces another.")
    scopes: Annotated[tuple[Line, ...], BeforeValidator(names)] = Field(
        default=(), description="What it may do, such as `agents.send:*` or `admin.read`. Default: nothing."
    )
    expires: Annotated[datetime, BeforeValidator(instant)] | None = Field(
        default=None,
        description="When the token stops working, ISO 8601, UTC unless it says otherwise. Default: never.",
    )


class GatewayConfig(Section):
    """The whole of gateway.yaml."""

    HINTS: ClassVar[Mapping[str, str]] = MappingProxyType(
        dict.fromkeys(
            ("schedules", "guardrails", "runtime", "entry_points", "graphs", "goals", "webhooks", "push", "tools"),
            _LATER,
        )
        | {"routing": "routing stands inside each channel: channels.<name>.routing"}
    )

    gateway: GatewaySection = Field(default=GatewaySection(), description="The daemon itself.")
    agents: dict[Name, AgentSection] = Field(default={}, description="Agents by name.")
    channels: dict[Name, ChannelSection] = Field(default={}, description="Connections to chat platforms by name.")
    provider: ProviderSection = Field(default=ProviderSection(), description="What holds for every agent's model.")
    clients: dict[Name, ClientSection] = Field(default={}, description="Clients with a token of their own, by name.")
    storage: StorageSection = Field(default=StorageSection(), description="Where state is kept, and for how long.")
    bus: BusSection = Field(default=BusSection(), description="The event bus.")


__all__ = [
    "ROUTES",
    "AgentSection",
    "BusSection",
    "ChannelSection",
    "ChannelSessionSection",
    "ClientSection",
    "GatewayConfig",
    "GatewaySection",
    "HistorySection",
    "LimitsSection",
    "LoggingSection",
    "ProviderSection",
    "Retention",
    "RetentionSection",
    "Section",
    "SessionConfigSection",
    "StorageSection",
]
