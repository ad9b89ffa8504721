"""What each RPC and each frame of a `Connect` stream requires. What is not in these tables is denied.

A rule is the first gate only: it asks whether the principal has any scope of the kind. What the scope holds for (an
agent's name, an event's topic, whose session) is asked by the handler, which has the subject at hand.
A test walks the descriptors: an RPC or frame without a rule fails the build.
"""

from collections.abc import Mapping
from types import MappingProxyType

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Action
from gatewayd.core.errors import PermissionDenied
from gatewayd.core.value import value


@value(frozen=True, slots=True)
class Permission:
    """What a caller needs before its request is looked at."""

    action: Action | None = None
    """A scope of this kind; None asks for no scope."""
    open: bool = False
    """Whether not even authentication is asked for."""
    other: Action | None = None
    """A scope of this kind will do, too."""

    def check(self, principal: Principal) -> None:
        """Raise `PermissionDenied` unless the principal holds it."""
        holds = principal.scopes.holds
        if self.action is not None and not (holds(self.action) or (self.other is not None and holds(self.other))):
            raise PermissionDenied(
                f"client {principal.id!r} has no scope of the kind {str(self.action)!r}",
                metadata={"scope": str(self.action)},
            )


OPEN = Permission(open=True)
"""Answered to anybody: health."""
AUTHENTICATED = Permission()
"""Anybody who has proved who they are."""

_ADMIN_READ = Permission(Action.ADMIN_READ)
_ADMIN_WRITE = Permission(Action.ADMIN_WRITE)
_PUBLISH = Permission(Action.PUBLISH)
_SUBSCRIBE = Permission(Action.SUBSCRIBE)
_SEND = Permission(Action.SEND)
_REGISTER = Permission(Action.REGISTER)
_RUNTIME = Permission(Action.RUNTIME)
_CONTROL = Permission(Action.SEND, other=Action.RUNTIME)
_SESSIONS = Permission(Action.SESSIONS)
_PUSH_JOIN = Permission(Action.PUSH_JOIN)
_PUSH_PUBLISH = Permission(Action.PUSH_PUBLISH)
_PUSH_MANAGE = Permission(Action.PUSH_MANAGE)
_STATE_READ = Permission(Action.STATE_READ)
_STATE_WRITE = Permission(Action.STATE_WRITE)


def _service(name: str, **methods: Permission) -> dict[str, Permission]:
    return {f"/{name}/{method}": permission for method, permission in methods.items()}


METHODS: Mapping[str, Permission] = MappingProxyType(
    _service(
        "gateway.v1.EventService",
        Connect=AUTHENTICATED,
        Publish=_PUBLISH,
        ListEvents=_SUBSCRIBE,
        WaitForEvent=_SUBSCRIBE,
        GetEventStats=_ADMIN_READ,
    )
    | _service(
        "gateway.v1.AgentService",
        SendMessage=_SEND,
        PublishMessage=_SEND,
        ListAgentInstances=_ADMIN_READ,
        SaveState=_ADMIN_WRITE,
        LoadState=_ADMIN_WRITE,
    )
    | _service(
        "gateway.v1.RuntimeService",
        GetExecution=Permission(Action.SESSIONS, other=Action.RUNTIME),
        ListExecutions=Permission(Action.SESSIONS, other=Action.RUNTIME),
        CancelExecution=_CONTROL,
        PauseExecution=_CONTROL,
        ResumeExecution=_CONTROL,
        InjectInput=_CONTROL,
        ListEntryPoints=_RUNTIME,
        Trigger=_RUNTIME,
        TriggerAndWait=_RUNTIME,
        GetRuntimeStats=_ADMIN_READ,
        GetGoalProgress=Permission(Action.RUNTIME, other=Action.ADMIN_READ),
        ListGoals=Permission(Action.RUNTIME, other=Action.ADMIN_READ),
        ReportOutcome=Permission(Action.RUNTIME, other=Action.REGISTER),
        GetState=_STATE_READ,
        ListState=_STATE_READ,
        SetState=_STATE_WRITE,
        WatchState=_STATE_READ,
    )
    | _service(
        "gateway.v1.SessionService",
        ListSessions=_SESSIONS,
        GetSession=_SESSIONS,
        ResetSession=_SESSIONS,
        ExportSession=_SESSIONS,
        EraseSession=_SESSIONS,
    )
    | _service(
        "gateway.v1.AdminService",
        GetStatus=_ADMIN_READ,
        RunChecks=_ADMIN_READ,
        ListChannels=_ADMIN_READ,
        ListAgents=_ADMIN_READ,
        ListClients=_ADMIN_READ,
        ExplainRoute=_ADMIN_READ,
        ListMessages=_ADMIN_READ,
        TraceMessage=_ADMIN_READ,
        ListDeadLetters=_ADMIN_READ,
        RetryDeadLetter=_ADMIN_WRITE,
        RevokeToken=_ADMIN_WRITE,
        ReloadConfig=_ADMIN_WRITE,
    )
    | _service(
        "gateway.v1.PushService",
        CreateTopic=_PUSH_MANAGE,
        DeleteTopic=_PUSH_MANAGE,
        GetTopic=AUTHENTICATED,
        ListTopics=AUTHENTICATED,
        PublishToTopic=_PUSH_PUBLISH,
        GetPresence=_PUSH_JOIN,
        ListTopicDeadLetters=AUTHENTICATED,
        RetryTopicDeadLetter=AUTHENTICATED,
        Register=_PUSH_JOIN,
        Poll=_PUSH_JOIN,
        Ack=_PUSH_JOIN,
        JoinTopic=_PUSH_JOIN,
        LeaveTopic=_PUSH_JOIN,
        Heartbeat=_PUSH_JOIN,
    )
    | _service("grpc.health.v1.Health", Check=OPEN, Watch=OPEN, List=OPEN)
    | _service("grpc.reflection.v1.ServerReflection", ServerReflectionInfo=AUTHENTICATED)
    | _service("grpc.reflection.v1alpha.ServerReflection", ServerReflectionInfo=AUTHENTICATED)
    | _service(
        "grpc.channelz.v1.Channelz",
        GetTopChannels=_ADMIN_READ,
        GetServers=_ADMIN_READ,
        GetServer=_ADMIN_READ,
        GetServerSockets=_ADMIN_READ,
        GetChannel=_ADMIN_READ,
        GetSubchannel=_ADMIN_READ,
        GetSocket=_ADMIN_READ,
    )
)
"""Full RPC method name → what it requires."""

FRAMES: Mapping[str, Permission] = MappingProxyType(
    {
        "hello": AUTHENTICATED,
        "ping": AUTHENTICATED,
        "subscribe": _SUBSCRIBE,
        "unsubscribe": AUTHENTICATED,
        "publish": _PUBLISH,
        "send": _SEND,
        "trigger": _RUNTIME,
        "cancel": _CONTROL,
        "pause": _CONTROL,
        "resume": _CONTROL,
        "inject_input": _CONTROL,
        "join_topic": _PUSH_JOIN,
        "leave_topic": AUTHENTICATED,
        "push": _PUSH_PUBLISH,
        "update_presence": _PUSH_JOIN,
        "ack": _PUSH_JOIN,
        "nack": _PUSH_JOIN,
        "register_agent": _REGISTER,
        "unregister_agent": AUTHENTICATED,
        "call_reply": _REGISTER,
        "publish_message": _SEND,
        "save_checkpoint": _REGISTER,
        "wait_for_input": _REGISTER,
        "batch": AUTHENTICATED,
    }
)
"""Name of a frame in `ConnectRequest.frame` → what it requires."""


def required(method: str) -> Permission:
    """What the RPC of that full name (`/gateway.v1.AdminService/GetStatus`) requires.

    Raises `PermissionDenied` for one without a rule.
    """
    try:
        return METHODS[method]
    except KeyError:
        raise PermissionDenied(f"no rule allows {method}") from None


def required_for_frame(kind: str) -> Permission:
    """What a client's frame of that kind (`publish`) requires. Raises `PermissionDenied` for one without a rule."""
    try:
        return FRAMES[kind]
    except KeyError:
        raise PermissionDenied(f"no rule allows the frame {kind!r}") from None
