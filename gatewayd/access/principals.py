"""Principals: who is asking, once that has been proved.

What a refusal says: it repeats the name that the caller gave, and is the same whether that exists or not. What the
caller did not name (who is behind a channel, who hears a topic, what there is instead) it names only as far as the
caller's scopes allow it.
"""

from collections.abc import Iterable

from gatewayd.access.scopes import EVERY_SCOPE, Action, Scopes
from gatewayd.core.errors import GatewayError, PermissionDenied, Unauthenticated, Unavailable
from gatewayd.core.event import EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.value import value

LOCAL = "local"
"""A connection over the unix socket without a token: the socket's mode is the guard."""
MAX_NAMED = 20
"""Names that an error tells."""
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

    def require_all(self, action: Action, subjects: Iterable[str], what: str) -> None:
        """Raise `PermissionDenied` unless the action is allowed on all of these, which the caller did not name.

        `what` says in words what they are; they themselves are not told.
        """
        if not all(self.scopes.allows(action, subject) for subject in subjects):
            raise PermissionDenied(f"client {self.id!r} has no scope for {what}", metadata={"scope": str(action)})

    def names(self, action: Action, subjects: Iterable[str]) -> str:
        """Those on which the action is allowed, in words, for who has named one that does not exist."""
        mine = sorted(subject for subject in subjects if self.scopes.allows(action, subject))
        shown = ", ".join(mine[:MAX_NAMED]) or "none"
        return f"{shown}, …" if len(mine) > MAX_NAMED else shown

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


@value(frozen=True, slots=True)
class LostProof:
    """Tokens that do not prove any more what they did: what was opened with them ends."""

    digests: frozenset[str]
    rescoped: bool = False
    """Whether a reload gave their client other scopes: it may come back at once. Else they are worth nothing."""

    def __contains__(self, digest: object) -> bool:
        return digest in self.digests

    def error(self) -> GatewayError:
        """What it ends with; a new one each time, since a raised error keeps its traceback."""
        if self.rescoped:
            return rescoped()
        return Unauthenticated("the token was revoked or has expired")


def rescoped() -> Unavailable:
    """The error of what was begun with scopes that its client has no more."""
    return Unavailable("the scopes of this client were changed: connect anew, or call again")


def _denied(principal: Principal, scope: str) -> PermissionDenied:
    return PermissionDenied(
        f"client {principal.id!r} has no scope for this; it would take {scope!r}", metadata={"scope": scope}
    )
