"""The section `channels`: what holds for every platform; the rest of a channel's keys are its adapter's `Settings`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from gatewayd.config.fields import Flag, Name, Number, OneOf, Whole
from gatewayd.config.section import Section, setting, settings_of

ROUTES = ("dm", "group", "channel", "default")
"""The keys of `routing`."""

_LATER = "not in this version"


class ChannelSessionSection(Section):
    """`channels.<name>.session`: when a conversation starts afresh by itself."""

    reset: Literal["none", "idle", "daily"] = setting(
        default="none",
        description="`none` (default): only /new, or gateway.session_config.timeout; `idle`: after idle_minutes "
        "without a message; `daily`: with the first message after at_hour.",
    )
    idle_minutes: Annotated[float, Number(1, 525_600)] = setting(
        default=60.0,
        description="Minutes without a message after which `reset: idle` starts afresh. Default 60, 1 to 525600.",
    )
    at_hour: Annotated[int, Whole(0, 23)] = setting(
        default=4, description="Hour of the day (UTC) at which `reset: daily` starts afresh. Default 4, 0 to 23."
    )


class ChannelSection(Section):
    """`channels.<name>`: one connection to a chat platform, and which agent answers there.

    `settings` is no key of the file: it holds the keys that belong to the platform's adapter, read by its own model.
    """

    ALIASES: ClassVar[Mapping[str, str]] = MappingProxyType({"routes": "routing"})
    HINTS: ClassVar[Mapping[str, str]] = MappingProxyType(
        dict.fromkeys(("bindings", "allowed_users", "allowed_channels", "dm_policy", "streaming", "retry"), _LATER)
    )

    platform: Name = setting(
        default="", description="Kind of chat network. Default: the channel's own name, in lower case."
    )
    enabled: Flag = setting(
        default=True,
        description="Whether the channel runs. Default true. A disabled one is checked, but its variables and secrets "
        "are not looked up.",
    )
    routing: dict[Annotated[str, OneOf(ROUTES)], Name] = setting(
        default={},
        description="Which agent answers: `dm`, `group`, `channel` and `default`, each an agent's name. `group` and "
        "`channel` stand in for each other before `default`. At least one rule is needed. Alias: `routes`.",
    )
    group_policy: Literal["mention_only", "respond_all", "command_only", "observe"] = setting(
        default="mention_only",
        description="What is answered in a group: `mention_only` (default): messages that mention or answer the bot; "
        "`respond_all`: all; `command_only`: commands; `observe`: none, but all are remembered.",
    )
    session_scope: Literal["per_user", "per_chat"] = setting(
        default="per_user",
        description="Who shares a conversation: `per_user` (default): nobody; `per_chat`: everybody in the room.",
    )
    session: ChannelSessionSection = setting(
        default=ChannelSessionSection(), description="When a conversation starts afresh by itself."
    )
    busy_mode: Literal["queue", "interrupt", "steer"] = setting(
        default="queue",
        description="What a message does that comes while an answer is being made: `queue` (default): it waits; "
        "`interrupt`: it ends that answer and is answered itself; `steer`: it is given to the running answer.",
    )
    rate_limit: Annotated[float, Number(0, 10_000)] = setting(
        default=0.0,
        description="Messages sent per second through this channel. 0 (default): what the platform allows; to 10000.",
    )
    max_message_length: Annotated[int, Whole(0, 1_000_000)] = setting(
        default=0,
        description="Longest message sent, in characters; longer text is split. 0 (default): the platform's limit, "
        "which a greater number never exceeds; to 1000000.",
    )
    ambiguous: Literal["hold", "resend"] = setting(
        default="hold",
        description="What happens to a message of which it is unknown whether it was sent (a crash in between), where "
        "the platform cannot tell: `hold` (default): it waits as a dead letter; `resend`: it may come twice.",
    )
    settings: Section | None = setting(
        default=None,
        description="The adapter's own keys. None when the channel is disabled or a variable of it is not set and its "
        "adapter cannot do without.",
        exclude=True,
    )

    def connection(self) -> tuple[object, ...]:
        """What the adapter is built from: when this differs, the connection is made anew."""
        return (self.platform, self.enabled, self.settings)

    def policy(self) -> tuple[object, ...]:
        """What routing, sessions and the outbox use: a change of it touches no adapter."""
        return tuple(
            getattr(self, field) for field in settings_of(self) if field not in ("platform", "enabled", "settings")
        )


__all__ = ["ROUTES", "ChannelSection", "ChannelSessionSection"]
