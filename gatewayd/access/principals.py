"""Principals: who is asking, once that has been proved."""

from gatewayd.access.scopes import EVERY_SCOPE, Action, Scopes
from gatewayd.core.errors import PermissionDenied
from gatewayd.core.event import EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.value import value

LOCAL = "local"
"""A connection over the unix socket without a token: the socket's mode is the guard."""
DEFAULT = "default"
"""The client of `gateway.auth_token`."""


@value(frozen=True, slots=True)
class Principal:
    """Who is asking and what they may do; it never changes while a connection lives."""

    id: str
    """The client's id; events it publishes have it as their source."""
    scopes: Scopes
    local: bool = False
    """Whether it came over the unix socket without a token."""
    expires: float | None = None
    """Unix seconds after which its token is worth nothing; None is never."""
    token_sha256: str = ""
    """Digest of the token that proved it, by which it can be revoked; '' for `local`."""

    def require(self, action: Action, subject: str = "") -> None:
        """Raise `PermissionDenied` unless a scope allows the action on the subject."""
        if not self.scopes.allows(action, subject):
            raise _denied(self, f"{action}:{subject}" if subject else str(action))

    def require_publish(self, kind: EventType, topic: str) -> None:
        """Raise `PermissionDenied` unless an event of this type and topic may be published."""
        if not self.scopes.may_publish(kind, topic):
            raise _denied(self, f"{Action.PUBLISH}:{kind.label}@{topic or '*'}")

    def require_subscribe(self, selection: EventFilter) -> None:
        """Raise `PermissionDenied` unless everything that the filter could select may be seen."""
        if not self.scopes.may_subscribe(selection):
            types = "*" if selection.types is None else ",".join(sorted(kind.label for kind in selection.types))
            raise _denied(self, f"{Action.SUBSCRIBE}:{types}@{selection.topic or '*'}")

    def may_see(self, owner: str) -> bool:
        """Whether an event or row of this owner's session ('' for nobody's) is shown to this principal."""
        return not owner or owner == self.id or self.scopes.all_sessions


def local_principal() -> Principal:
    """Whoever the mode of the unix socket lets in."""
    return Principal(LOCAL, EVERY_SCOPE, local=True)


def _denied(principal: Principal, scope: str) -> PermissionDenied:
    return PermissionDenied(
        f"client {principal.id!r} has no scope for this; it would take {scope!r}", metadata={"scope": scope}
    )
