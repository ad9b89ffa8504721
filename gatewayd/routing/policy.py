"""Whether a message in a room is answered at all."""

from enum import StrEnum

from gatewayd.config.model import ChannelSection
from gatewayd.core.message import ChatContext, InboundMessage


class Verdict(StrEnum):
    ANSWER = "answer"
    SILENT = "silent"
    REMEMBER = "remember"
    """Not answered, but part of the conversation from now on."""


def admit(section: ChannelSection, message: InboundMessage) -> tuple[Verdict, str]:
    """The verdict, and the reason in words for the message's story."""
    if not message.text.strip():
        return Verdict.SILENT, "the message has no text"
    if message.context is ChatContext.DM:
        return Verdict.ANSWER, "a direct message"
    policy = section.group_policy
    if policy == "observe":
        return Verdict.REMEMBER, "group_policy observe"
    if policy == "respond_all":
        return Verdict.ANSWER, "group_policy respond_all"
    if policy == "command_only":
        if message.command:
            return Verdict.ANSWER, "group_policy command_only, and it is a command"
        return Verdict.SILENT, "group_policy command_only, and it is no command"
    if message.mentioned or message.command:
        return Verdict.ANSWER, "group_policy mention_only, and it addresses the bot"
    return Verdict.SILENT, "group_policy mention_only, and it does not mention the bot"
