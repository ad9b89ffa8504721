"""The Python SDK: talk to agents, publish and read events, over one connection that heals itself.

    async with Client() as client:
        print((await client.send("assistant", "hello")).content)
        async for event in client.subscribe(event_filter(types=["execution_completed"])):
            ...

Everything of one client shares one stream. The connection is kept up with back-off and jitter; sends, publishes,
subscriptions and memberships of push topics (`client.topics`) survive its loss (see each). The waits between attempts
double from 0.1 s to 30 s, each shortened by up to a half by chance. Whenever a connection was welcomed, however
short, the next wait is at most 3.2 s, and 0.1 s if it lasted a second; so a daemon that has crashed a few times and
serves again is not left waiting for. A daemon that asks for a longer pause gets it. A client belongs to one event
loop, and one process: not across a fork.
"""

from gatewayctl.events import Event, EventFilter, event_filter, new_event
from gatewayctl.sdk.addressed import Addressed
from gatewayctl.sdk.answer import Answer, Reply
from gatewayctl.sdk.answering import Call, CallFailed
from gatewayctl.sdk.errors import (
    Cancelled,
    ClientClosed,
    Conflict,
    ConnectionReplaced,
    DeadlineExceeded,
    EventsLost,
    ExecutionFailed,
    GatewayError,
    HistoryLost,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    PermissionDenied,
    StateConflict,
    TopicEnded,
    Unauthenticated,
    Unavailable,
)
from gatewayctl.sdk.facade import Client
from gatewayctl.sdk.goals import Criterion, Goal
from gatewayctl.sdk.keeping import Suspended
from gatewayctl.sdk.membership import Membership
from gatewayctl.sdk.messages import Loaded, Published
from gatewayctl.sdk.serving import Serving
from gatewayctl.sdk.state import State, StateKey
from gatewayctl.sdk.subscription import Gap, Subscription
from gatewayctl.sdk.topic_message import Presence, TopicMessage
from gatewayctl.sdk.topics import Topics
from gatewayctl.sdk.triggers import Result, Triggered
from gatewayctl.tls import Tls

__all__ = [
    "Addressed",
    "Answer",
    "Call",
    "CallFailed",
    "Cancelled",
    "Client",
    "ClientClosed",
    "Conflict",
    "ConnectionReplaced",
    "Criterion",
    "DeadlineExceeded",
    "Event",
    "EventFilter",
    "EventsLost",
    "ExecutionFailed",
    "Gap",
    "GatewayError",
    "Goal",
    "HistoryLost",
    "InvalidArgument",
    "LimitExceeded",
    "Loaded",
    "Membership",
    "NotFound",
    "PermissionDenied",
    "Presence",
    "Published",
    "Reply",
    "Result",
    "Serving",
    "State",
    "StateConflict",
    "StateKey",
    "Subscription",
    "Suspended",
    "Tls",
    "TopicEnded",
    "TopicMessage",
    "Topics",
    "Triggered",
    "Unauthenticated",
    "Unavailable",
    "event_filter",
    "new_event",
]
