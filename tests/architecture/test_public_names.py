"""What extension authors may rely on is a list; a change of it is a decision."""

import importlib

import pytest

PUBLIC = {
    "gatewayd.agents.base": (
        "Agent AgentContext AgentFailed GraphOutput Output ReasoningOutput Suspended TextOutput "
        "ToolCompleted ToolStarted Turn"
    ),
    "gatewayd.engine": (
        "AgentId CallCycle CancellationToken HandlerAgent MalformedMessage Message MessageContext MessageRefused "
        "TopicId UnhandledMessage UnknownMessageType message_handler"
    ),
    "gatewayd.agents.tools.base": "Tool ToolContext ToolFailed ToolFunction",
    "gatewayd.bus.base": "BusStats EventBus Subscription SubscriptionSpec",
    "gatewayd.channels.base": (
        "AdapterFactory Capabilities ChannelAdapter ChannelAuthError ChannelConflict ChannelIO ChannelState "
        "ChannelStatus ChannelUnavailable Handover Inbox Pulse RateLimited SendRejected"
    ),
    "gatewayd.providers.base": (
        "ChatMessage Delta FinishReason Finished LLMProvider ModelError ModelRefused ModelTruncated ModelUnavailable "
        "Prompt Reasoning Role Text ToolCall ToolCallPiece ToolSchema Usage"
    ),
    "gatewayd.storage.base": "EventSink Store",
    "gatewayctl.client": (
        "Addressed Answer Call CallFailed Cancelled Client ClientClosed Conflict ConnectionReplaced Criterion "
        "DeadlineExceeded Event EventFilter EventsLost ExecutionFailed Gap GatewayError Goal HistoryLost "
        "InvalidArgument LimitExceeded Loaded Membership NotFound PermissionDenied Presence Published Reply "
        "Result Serving State StateConflict StateKey Subscription Suspended Tls TopicEnded TopicMessage Topics "
        "Triggered Unauthenticated Unavailable event_filter new_event"
    ),
}


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_these_and_exist(module: str) -> None:
    """`__all__` is the list, and every name in it is there."""
    loaded = importlib.import_module(module)

    assert set(loaded.__all__) == set(PUBLIC[module].split())
    assert all(hasattr(loaded, name) for name in loaded.__all__)
