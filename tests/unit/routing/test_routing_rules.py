"""Which messages are answered, and by whom: the whole of both tables."""

import itertools

import pytest

from gatewayd.config.checking import read
from gatewayd.config.model import ChannelSection
from gatewayd.core.errors import ChannelNotFound, NoRoute
from gatewayd.core.message import ChatContext
from gatewayd.routing.policy import Verdict, admit
from gatewayd.routing.table import explain, route
from tests.rigs.middle import message

POLICIES = ("mention_only", "respond_all", "command_only", "observe")


def section(**more: object) -> ChannelSection:
    return read(ChannelSection, {"platform": "sim", "routing": {"default": "a"}} | more)


@pytest.mark.parametrize(
    ("policy", "mentioned", "command", "verdict"),
    [
        ("mention_only", False, False, Verdict.SILENT),
        ("mention_only", True, False, Verdict.ANSWER),
        ("mention_only", False, True, Verdict.ANSWER),
        ("respond_all", False, False, Verdict.ANSWER),
        ("command_only", False, False, Verdict.SILENT),
        ("command_only", True, False, Verdict.SILENT),
        ("command_only", False, True, Verdict.ANSWER),
        ("observe", False, False, Verdict.REMEMBER),
        ("observe", True, True, Verdict.REMEMBER),
    ],
)
@pytest.mark.parametrize("context", [ChatContext.GROUP, ChatContext.CHANNEL])
def test_a_rooms_policy_decides(
    policy: str, mentioned: bool, command: bool, verdict: Verdict, context: ChatContext
) -> None:
    """group_policy, for groups and channels alike; the reason names it."""
    said = message("hello", context=context, mentioned=mentioned, command=command)

    decided, why = admit(section(group_policy=policy), said)

    assert decided is verdict
    assert policy in why


@pytest.mark.parametrize("policy", POLICIES)
def test_a_direct_message_is_answered_whatever_the_policy(policy: str) -> None:
    """The policy is the group's."""
    assert admit(section(group_policy=policy), message("hello"))[0] is Verdict.ANSWER


@pytest.mark.parametrize("policy", POLICIES)
def test_a_message_without_words_is_left(policy: str) -> None:
    """Not even remembered."""
    assert admit(section(group_policy=policy), message(" \n\t"))[0] is Verdict.SILENT


ORDER = {
    ChatContext.DM: ("dm", "default"),
    ChatContext.GROUP: ("group", "channel", "default"),
    ChatContext.CHANNEL: ("channel", "group", "default"),
}


@pytest.mark.parametrize("context", list(ChatContext))
def test_every_combination_of_rules_is_decided_by_the_order(context: ChatContext) -> None:
    """The context's own rule, the other kind of room, default; and explain says the same (P7.5)."""
    names = ("dm", "group", "channel", "default")
    for chosen in itertools.chain.from_iterable(itertools.combinations(names, size) for size in range(1, 5)):
        channels = {"c": section(routing={name: f"agent-{name}" for name in chosen})}
        expected = next((name for name in ORDER[context] if name in chosen), None)
        told = explain(channels, "c", context, "ann")
        if expected is None:
            assert (told.agent, told.rule) == ("", "")
            with pytest.raises(NoRoute, match=f"channels.c.routing.{context.value}"):
                route(channels, "c", context)
        else:
            assert route(channels, "c", context) == (f"agent-{expected}", f"channels.c.routing.{expected}")
            assert (told.agent, told.rule) == (f"agent-{expected}", f"channels.c.routing.{expected}")
            assert len(told.considered) == ORDER[context].index(expected) + 1


def test_an_unknown_channel_is_told_with_the_known_ones() -> None:
    """CHANNEL_NOT_FOUND helps whoever mistyped."""
    with pytest.raises(ChannelNotFound, match="there are: one, two"):
        route({"two": section(), "one": section()}, "three", ChatContext.DM)
