"""The sections `runtime` and `entry_points`: how much runs at once, and the named ways to start an agent."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Final, Literal

from gatewayd.config.fields import YEAR, Bound, Duration, Flag, Length, Line, Name, Number, Whole, names
from gatewayd.config.plain import refuse
from gatewayd.config.problems import Path, suggest
from gatewayd.config.section import Section, setting, settings_of
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.event import EventType
from gatewayd.core.topic import TopicPattern
from gatewayd.cron import check_cron, check_timezone

Kind = Literal["api", "manual", "event", "webhook", "message", "timer"]

_LABELS: Final = frozenset(kind.label for kind in EventType)
_KEYS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "event": frozenset({"event_types", "filter_stream", "filter_node", "filter_topic", "include_own"}),
        "webhook": frozenset({"source_id"}),
        "message": frozenset({"channel", "topic"}),
        "timer": frozenset({"cron", "interval_minutes", "timezone", "run_immediately"}),
    }
)
"""What may stand in `trigger_config`, by kind; the others take nothing."""


def event_label(value: object) -> str:
    """The label of an event type."""
    if not isinstance(value, str) or value not in _LABELS:
        text = value if isinstance(value, str) else ""
        raise refuse("an event type", suggest(text.lower(), _LABELS, "event types"))
    return value


def topic_pattern(value: object) -> str:
    """A topic, or a pattern of topics."""
    try:
        return value if isinstance(value, str) and TopicPattern.parse(value) else _no_text("a topic pattern")
    except InvalidArgument as error:
        raise ValueError(error.message) from None


def cron_schedule(value: object) -> str:
    """Five fields of a cron schedule that has a next time."""
    return check_cron(value) if isinstance(value, str) else _no_text("a cron schedule")


def zone_name(value: object) -> str:
    """A time zone by its IANA name."""
    return check_timezone(value) if isinstance(value, str) else _no_text("the name of a time zone")


def _no_text(wanted: str) -> str:
    raise refuse(wanted, "put it in quotes")


class CheckpointsSection(Section):
    """`runtime.checkpoints`: what executions go on from after a pause or a crash."""

    enabled: Flag = setting(
        default=True,
        description="Whether agents' checkpoints are written. Without them a crash lets an execution begin anew; one "
        "that pauses or waits for input is written all the same. Default true.",
    )
    on_node_start: Flag = setting(
        default=True, description="Those before a step, such as a tool that is about to be called. Default true."
    )
    on_node_complete: Flag = setting(
        default=True, description="Those behind a step, such as a tool that has answered. Default true."
    )
    max_age_days: Annotated[float, Number(0.01, 3650)] = setting(
        default=7.0,
        description="Days that an execution may be paused or wait for input; then it fails. Default 7, 0.01 to 3650.",
    )
    max_count: Annotated[int, Whole(1, 1000)] = setting(
        default=10, description="Checkpoints of one execution that are kept, the newest. Default 10, 1 to 1000."
    )


class RuntimeSection(Section):
    """`runtime`: how much runs at once, and how long results are kept."""

    max_concurrent_executions: Annotated[int, Whole(1, 100_000)] = setting(
        default=100,
        description="Runs of agents at a time, whatever started them; the others wait, the highest priority first. "
        "Default 100, 1 to 100000.",
    )
    execution_result_max: Annotated[int, Whole(1, 10_000_000)] = setting(
        default=1000,
        description="Ended executions of entry points and published messages that are kept with their results; the "
        "oldest go first. Default 1000, 1 to 10000000. storage.retention.executions bounds them too.",
    )
    execution_result_ttl_seconds: Annotated[float | None, Bound(Duration(1.0, 100 * YEAR))] = setting(
        default=None,
        description="How long they are kept. Duration, 1s to 100 years; 0 or left out: no bound by age of their own.",
    )
    execution_log: Flag = setting(
        default=True,
        description="Whether each execution keeps a log of its steps, its calls of tools and its checkpoints, 500 "
        "entries at most, for as long as it is kept itself. Default true.",
    )
    checkpoints: CheckpointsSection = setting(
        default=CheckpointsSection(), description="What executions go on from after a pause or a crash."
    )


class TriggerConfigSection(Section):
    """`entry_points.<id>.trigger_config`: what the entry point waits for, by kind."""

    event_types: Annotated[tuple[Annotated[str, event_label], ...], names, Length(0, 100)] | None = setting(
        default=None, description="For `event`: the types that start it, such as [webhook_received]; at least one."
    )
    filter_stream: Line | None = setting(
        default=None, description="For `event`: only those of this stream, such as a webhook's name. Default: of any."
    )
    filter_node: Line | None = setting(
        default=None, description="For `event`: only those of this node. Default: of any."
    )
    filter_topic: Annotated[str, topic_pattern] | None = setting(
        default=None, description="For `event`: only those on a topic of this pattern. Default: on any, and on none."
    )
    include_own: Flag | None = setting(
        default=None,
        description="For `event`: whether events of its own executions start it too, which may never end. Default "
        "false.",
    )
    source_id: Line | None = setting(
        default=None,
        description="For `webhook`: the webhook whose requests start it; each is a webhook_received event.",
    )
    channel: Name | None = setting(
        default=None,
        description="For `message`: the channel whose messages start it, beside the agent that answers there. Either "
        "this or topic.",
    )
    topic: Annotated[str, topic_pattern] | None = setting(
        default=None, description="For `message`: only messages that were published on a topic of this pattern."
    )
    cron: Annotated[str, cron_schedule] | None = setting(
        default=None, description='For `timer`: five fields, such as "0 9 * * 1-5". Either this or interval_minutes.'
    )
    interval_minutes: Annotated[float, Number(0.01, 525_600)] | None = setting(
        default=None, description="For `timer`: minutes between two starts, 0.01 to 525600."
    )
    timezone: Annotated[str, zone_name] | None = setting(
        default=None, description="For `timer` with cron: IANA name of the time zone that it is meant in. Default UTC."
    )
    run_immediately: Flag | None = setting(
        default=None, description="For `timer`: whether it also starts when the daemon does. Default false."
    )


class EntryPointSection(Section):
    """`entry_points.<id>`: one named way to start an agent or a graph."""

    ALIASES: ClassVar[Mapping[str, str]] = MappingProxyType({"trigger_type": "trigger"})
    name: Line = setting(default="", description="What it is called for people. Default: its id.")
    agent: Name | None = setting(default=None, description="The agent that it starts; either this or graph.")
    graph: Name | None = setting(default=None, description="The graph that it starts.")
    entry_node: Name | None = setting(
        default=None, description="For `graph`: the node that it begins with. Default: the graph's entry_node."
    )
    goal: Name | None = setting(
        default=None, description="What its executions are to reach, an id of goals. Default: nothing is measured."
    )
    isolation_level: Literal["isolated", "shared", "synchronized"] = setting(
        default="shared",
        description="How its executions take part in the shared state: `isolated`, each has its own alone; `shared` "
        "(default); `synchronized`, a shared key is written only at the version that was read last.",
    )
    trigger: Kind = setting(
        default="api",
        description="What starts it: `api` (default) or `manual`, a call alone; `event`, `webhook`, `message`, "
        "`timer`. A call starts each of them. Alias: `trigger_type`.",
    )
    trigger_config: TriggerConfigSection = setting(
        default=TriggerConfigSection(), description="What it waits for; nothing for `api` and `manual`."
    )
    priority: Annotated[int, Whole(-1000, 1000)] = setting(
        default=0,
        description="Who goes first where executions wait: the higher one; messages of chats and clients have 0. "
        "Default 0, -1000 to 1000.",
    )
    max_concurrent: Annotated[int, Whole(1, 10_000)] = setting(
        default=10, description="Its executions at a time; the others wait. Default 10, 1 to 10000."
    )
    channel: Name | None = setting(
        default=None,
        description="The channel on which its answers are sent, and what went wrong where there is none; with "
        "channel_id. Default: nowhere, the answer is kept as the result alone.",
    )
    channel_id: Line | None = setting(
        default=None, description="The chat of `channel` that they go to, by the platform's id of it."
    )


def faults(name: str, section: EntryPointSection) -> Iterator[tuple[Path, str, str]]:
    """What is missing from `trigger_config`, and what is of another kind: path, what is wrong, what to do."""
    path, wanted = ("entry_points", name, "trigger_config"), section.trigger_config
    if section.trigger == "event" and not wanted.event_types:
        yield (*path, "event_types"), "no event starts it", "name at least one type, such as [webhook_received]"
    if section.trigger == "webhook" and not wanted.source_id:
        yield (*path, "source_id"), "no webhook starts it", "name the webhook, such as source_id: github"
    if section.trigger == "message" and (wanted.channel is None) == (wanted.topic is None):
        yield path, "messages are those of either a channel or a topic", "such as topic: orders.>"
    if section.trigger == "timer" and (wanted.cron is None) == (wanted.interval_minutes is None):
        yield path, "a timer has either cron or interval_minutes", "such as cron: '0 9 * * 1-5'"
    if section.trigger == "timer" and wanted.timezone is not None and wanted.cron is None:
        yield (*path, "timezone"), "this is for cron alone", "leave it out"
    if section.channel is not None and not section.channel_id:
        yield ("entry_points", name, "channel_id"), "answers have a channel and no chat", "name the chat, by its id"
    if section.channel is None and section.channel_id is not None:
        yield ("entry_points", name, "channel"), "answers have a chat and no channel", "name the channel of the chat"
    taken = _KEYS.get(section.trigger, frozenset())
    for key in settings_of(wanted):
        if key not in taken and getattr(wanted, key) is not None:
            kind = next(kind for kind, keys in _KEYS.items() if key in keys)
            yield (*path, key), f"this is for trigger: {kind}, and here it is {section.trigger}", "leave it out"


__all__ = ["CheckpointsSection", "EntryPointSection", "RuntimeSection", "TriggerConfigSection", "faults"]
