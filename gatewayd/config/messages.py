"""What of an agent concerns the messages between agents: the topics that it hears, and how many it handles at once."""

import re
from typing import Annotated

from gatewayd.config.fields import Length, names
from gatewayd.config.plain import refuse
from gatewayd.config.section import Section, setting
from gatewayd.core.agents import TopicFilter
from gatewayd.core.errors import InvalidArgument

MOST_TOPICS = 100
_CONCURRENT = re.compile(r"(serial|latest|concurrent\(([1-9][0-9]{0,3})\))\Z")


def topic_filter(value: object) -> str:
    """A topic type, or the beginning of topic types with `*` after it."""
    try:
        if isinstance(value, str):
            return str(TopicFilter.parse(value))
    except InvalidArgument:
        pass
    raise refuse(
        "a topic such as orders, or orders.* for all that begin so", "letters, digits and _ - . : = are allowed"
    )


def handling(value: object) -> str:
    """`serial`, `concurrent(n)` or `latest`."""
    if isinstance(value, str) and _CONCURRENT.match(value):
        return value
    raise refuse("serial, concurrent(n) with n from 1 to 9999, or latest")


def at_once(written: str) -> int:
    """How many messages an instance handles at a time."""
    found = _CONCURRENT.match(written)
    return int(found[2]) if found is not None and found[2] else 1


class AgentMessagesSection(Section):
    """The part of `agents.<id>` for messages between agents."""

    topics: Annotated[tuple[Annotated[str, topic_filter], ...], names, Length(0, MOST_TOPICS)] = setting(
        default=(),
        description="Topics that the agent hears: a type such as `orders`, or `orders.*` for all types that begin so. "
        "At most 100. Default: none but `NAME:` and what follows it.",
    )
    concurrency: Annotated[str, handling] = setting(
        default="serial",
        description="How each instance handles messages of other agents: `serial` one after the other (default), "
        "`concurrent(n)` up to n at a time, `latest` one at a time, and only the newest waits.",
    )
