"""Which agent answers in which room: pure rules over the configuration.

Order: the context's own rule; for `group` and `channel` the other of the two (Discord and Slack call their rooms
channels, and people write `group`); then `default`. `explain` tells every rule that was looked at.
"""

from collections.abc import Mapping

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Action
from gatewayd.config.model import ChannelSection
from gatewayd.core.errors import ChannelNotFound, NoRoute
from gatewayd.core.message import ChatContext
from gatewayd.core.value import value

_STAND_IN = {ChatContext.GROUP: ChatContext.CHANNEL, ChatContext.CHANNEL: ChatContext.GROUP}


@value(frozen=True, slots=True)
class RouteExplanation:
    """What routing decides, and why. `agent` and `rule` are '' when no rule matches."""

    channel: str
    context: ChatContext
    peer: str
    agent: str
    rule: str
    """Path of the matching rule in gateway.yaml."""
    considered: tuple[str, ...]
    """One sentence for each rule in the order in which they were looked at."""


def explain(
    channels: Mapping[str, ChannelSection], channel: str, context: ChatContext, peer: str = ""
) -> RouteExplanation:
    """Decide and say why; raises `ChannelNotFound` for a channel that is not configured."""
    section = channels.get(channel)
    if section is None:
        known = ", ".join(sorted(channels)) or "none"
        raise ChannelNotFound(f"no channel {channel!r} is configured (there are: {known})")
    considered = []
    for rule, why in _candidates(context):
        path = f"channels.{channel}.routing.{rule}"
        agent = section.routing.get(rule)
        if agent is not None:
            considered.append(f"{path}: matches ({why}) and names agent {agent}")
            return RouteExplanation(channel, context, peer, agent, path, tuple(considered))
        considered.append(f"{path}: not set ({why})")
    return RouteExplanation(channel, context, peer, "", "", tuple(considered))


def route_for(
    channels: Mapping[str, ChannelSection], channel: str, context: ChatContext, asks: Principal
) -> tuple[str, str]:
    """As `route`, for a client: a channel none of whose agents it may ask is answered like none.

    `PermissionDenied` where it may ask an agent of the channel, but not the one that answers here.
    """
    named = channels.get(channel)
    if named is None or not _reaches(named, asks):
        channels = {name: section for name, section in channels.items() if _reaches(section, asks)}
    agent, rule = route(channels, channel, context)
    asks.require_all(Action.SEND, [agent], f"who answers {context.value!r} messages of channel {channel!r}")
    return agent, rule


def _reaches(section: ChannelSection, asks: Principal) -> bool:
    """Who may ask all agents is told of a channel without any, too."""
    return any(asks.scopes.allows(Action.SEND, agent) for agent in (*section.routing.values(), "*"))


def route(channels: Mapping[str, ChannelSection], channel: str, context: ChatContext) -> tuple[str, str]:
    """The agent and the path of the rule that names it; raises `ChannelNotFound` or `NoRoute`."""
    decision = explain(channels, channel, context)
    if not decision.agent:
        raise NoRoute(
            f"channel {channel!r} has no rule for {context.value!r} messages and no default: "
            f"add channels.{channel}.routing.{context.value} or .default",
        )
    return decision.agent, decision.rule


def _candidates(context: ChatContext) -> list[tuple[str, str]]:
    candidates = [(context.value, f"the message is a {context.value} message")]
    other = _STAND_IN.get(context)
    if other is not None:
        candidates.append((other.value, f"{other.value} stands in for {context.value}"))
    candidates.append(("default", "everything else"))
    return candidates
