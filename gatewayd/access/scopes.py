"""Scopes: what a client may do, in the grammar of gateway.yaml.

One scope is one line of `clients.<id>.scopes`:

    events.publish:TYPE@TOPICS      events.subscribe:TYPE@TOPICS
    agents.send:NAMES    agents.register:NAMES    runtime:NAMES
    push.join:TOPICS     push.publish:TOPICS      push.manage:TOPICS     push:TOPICS
    state.read:KEYS      state.write:KEYS         state:KEYS
    sessions:own         sessions:all
    admin.read           admin.write              approve

TYPE is the label of an event type or `*`. NAMES is a name in which `*` stands for any run of characters. TOPICS is a
topic pattern (`*` is one word, `>` the rest); alone, `*` and `>` both mean every topic, and no topic too. What no
scope allows is denied, and no scope implies another, except `sessions:all` that of `own`, and `push` and `state` their
parts. KEYS is a pattern of keys of the shared state, in the grammar of topics.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache

from gatewayd.core.errors import InvalidArgument
from gatewayd.core.event import EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.nearest import nearest
from gatewayd.core.topic import TopicPattern
from gatewayd.core.value import value

MAX_SCOPE_LENGTH = 512
"""Longest scope, in characters."""

_NAMES = re.compile(r"[\w\-.:=*]+\Z")


class Action(StrEnum):
    """The kinds of scope; the value is the word before the colon."""

    PUBLISH = "events.publish"
    SUBSCRIBE = "events.subscribe"
    SEND = "agents.send"
    REGISTER = "agents.register"
    RUNTIME = "runtime"
    PUSH = "push"
    """All three that follow."""
    PUSH_JOIN = "push.join"
    """To be on a push topic, and to see who is."""
    PUSH_PUBLISH = "push.publish"
    PUSH_MANAGE = "push.manage"
    """To make a push topic, and to delete one's own."""
    STATE = "state"
    """Both that follow."""
    STATE_READ = "state.read"
    STATE_WRITE = "state.write"
    SESSIONS = "sessions"
    ADMIN_READ = "admin.read"
    ADMIN_WRITE = "admin.write"
    APPROVE = "approve"


_EVENTS = frozenset({Action.PUBLISH, Action.SUBSCRIBE})
_PUSH = frozenset({Action.PUSH_JOIN, Action.PUSH_PUBLISH, Action.PUSH_MANAGE})
_STATE = frozenset({Action.STATE_READ, Action.STATE_WRITE})
_TOPICS = _PUSH | {Action.PUSH} | _STATE | {Action.STATE}
_PLAIN = frozenset({Action.ADMIN_READ, Action.ADMIN_WRITE, Action.APPROVE})


@value(frozen=True, slots=True)
class Scope:
    """One checked scope; make one with `Scope.parse`."""

    action: Action
    pattern: str = ""
    """What follows the colon, without the event type; '' for a scope that has no colon."""
    type: EventType | None = None
    """Of an event scope: the only type it holds for; None is every type."""

    @classmethod
    def parse(cls, text: str) -> "Scope":
        """Read one scope, or raise `InvalidArgument` with a hint."""
        if len(text) > MAX_SCOPE_LENGTH:
            raise InvalidArgument(f"scope is {len(text)} characters long; at most {MAX_SCOPE_LENGTH} are allowed")
        word, colon, rest = text.partition(":")
        try:
            action = Action(word)
        except ValueError:
            raise InvalidArgument(f"unknown scope {text!r}{_nearest(word)}") from None
        if action in _PLAIN:
            if colon:
                raise InvalidArgument(f"scope {text!r}: write {word!r} alone")
            return cls(action)
        if not rest:
            raise InvalidArgument(f"scope {text!r} does not say what for; write {_example(action)!r}")
        if action in _EVENTS:
            return cls._parse_event(text, action, rest)
        if action is Action.SESSIONS and rest not in ("own", "all"):
            raise InvalidArgument(f"scope {text!r}: write 'sessions:own' or 'sessions:all'")
        if action in _TOPICS:
            _topics(rest, text)
        elif not _NAMES.match(rest):
            raise InvalidArgument(f"scope {text!r}: a name holds letters, digits and -.:=, and '*' for any of them")
        return cls(action, rest)

    @classmethod
    def _parse_event(cls, text: str, action: Action, rest: str) -> "Scope":
        label, at, topics = rest.partition("@")
        if not at or not topics:
            raise InvalidArgument(f"scope {text!r} does not say for which topics; write {f'{action}:{label}@*'!r}")
        _topics(topics, text)
        if label == "*":
            return cls(action, topics)
        try:
            if label != label.lower():
                raise InvalidArgument("labels are lower case")
            return cls(action, topics, EventType.from_label(label))
        except InvalidArgument:
            near = nearest(label.lower(), (kind.label for kind in EventType))
            hint = f"; did you mean {near!r}?" if near else "; '*' stands for every type"
            raise InvalidArgument(f"scope {text!r}: unknown event type {label!r}{hint}") from None

    def __str__(self) -> str:
        if self.action in _EVENTS:
            return f"{self.action}:{self.type.label if self.type else '*'}@{self.pattern}"
        return f"{self.action}:{self.pattern}" if self.pattern else str(self.action)


@value(frozen=True, slots=True)
class Scopes:
    """All that one principal may do."""

    items: frozenset[Scope] = frozenset()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Scopes":
        """Read a list of scopes, or raise `InvalidArgument` for the first that is wrong."""
        return cls(frozenset(Scope.parse(text) for text in texts))

    def holds(self, action: Action) -> bool:
        """Whether there is any scope of that kind; what it holds for is asked with the subject at hand."""
        return bool(_granting(self.items, action))

    def allows(self, action: Action, subject: str = "") -> bool:
        """Whether the action is allowed on an agent, entry point, push topic, key, or on sessions `own` or `all`.

        The administrative ones have no subject. Events are asked by `may_publish` and `may_subscribe`.
        """
        if action in _EVENTS:
            raise ValueError(f"{action} depends on a type and a topic")
        return any(_covers_subject(scope, subject) for scope in _granting(self.items, action))

    def may_publish(self, kind: EventType, topic: str) -> bool:
        """Whether an event of this type and topic ('' when it has none) may be published."""
        for scope in _granting(self.items, Action.PUBLISH):
            if (scope.type is None or scope.type is kind) and _has_topic(scope.pattern, topic):
                return True
        return False

    def may_subscribe(self, selection: EventFilter) -> bool:
        """Whether everything that the filter could select may be seen: for each type one scope covers its topics."""
        mine = [scope for scope in self.items if scope.action is Action.SUBSCRIBE]
        wanted: Iterable[EventType | None] = [None] if selection.types is None else selection.types
        return all(
            any(scope.type in (None, kind) and _covers_topics(scope.pattern, selection.topic) for scope in mine)
            for kind in wanted
        ) and bool(mine)

    @property
    def all_sessions(self) -> bool:
        """Whether events and rows of other principals' sessions may be seen."""
        return self.allows(Action.SESSIONS, "all")

    def texts(self) -> list[str]:
        """The scopes as they are written in gateway.yaml, sorted."""
        return sorted(map(str, self.items))


EVERY_SCOPE = Scopes(
    frozenset(
        {
            Scope(Action.PUBLISH, ">"),
            Scope(Action.SUBSCRIBE, ">"),
            Scope(Action.SEND, "*"),
            Scope(Action.REGISTER, "*"),
            Scope(Action.RUNTIME, "*"),
            Scope(Action.PUSH, ">"),
            Scope(Action.STATE, ">"),
            Scope(Action.SESSIONS, "all"),
            Scope(Action.ADMIN_READ),
            Scope(Action.ADMIN_WRITE),
            Scope(Action.APPROVE),
        }
    )
)
"""All that can be allowed: the scopes of the clients `local` and `default`."""


def check_scope(text: str) -> None:
    """Raise `InvalidArgument` with a hint unless the text is a scope; for the configuration's checks."""
    Scope.parse(text)


@lru_cache(maxsize=1024)
def _granting(scopes: frozenset[Scope], action: Action) -> tuple[Scope, ...]:
    """Those that are of that kind: asked for each message and each publication."""
    return tuple(scope for scope in scopes if _grants(scope, action))


def _grants(scope: Scope, action: Action) -> bool:
    parts = _PUSH if scope.action is Action.PUSH else _STATE if scope.action is Action.STATE else ()
    return scope.action is action or action in parts


def _covers_subject(scope: Scope, subject: str) -> bool:
    if scope.action in _PLAIN:
        return not subject
    if scope.action is Action.SESSIONS:
        return subject in ("own", "all") and scope.pattern in (subject, "all")
    if not subject:
        return False
    if scope.action in _TOPICS:
        return _has_topic(scope.pattern, subject)
    return _matches_name(scope.pattern, subject)


def _matches_name(pattern: str, name: str) -> bool:
    """Whether the name fits, each `*` being any run of characters; linear, where a regular expression is not."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == first
    if not name.startswith(first):
        return False
    at = len(first)
    for piece in rest[:-1]:
        found = name.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return len(name) - at >= len(rest[-1]) and name.endswith(rest[-1])


@lru_cache(maxsize=1024)
def _pattern(text: str) -> TopicPattern:
    return TopicPattern.parse(text)


def _has_topic(pattern: str, topic: str) -> bool:
    """Whether a scope's topics include this one; '' is no topic, which only `*` and `>` alone include."""
    return pattern in ("*", ">") or (bool(topic) and _pattern(pattern).matches(topic))


def _covers_topics(pattern: str, wanted: TopicPattern | None) -> bool:
    """Whether every topic that `wanted` matches (None: all, and none) is one of the scope's."""
    if pattern in ("*", ">"):
        return True
    if wanted is None:
        return False
    words = _pattern(pattern).words
    for place, word in enumerate(words):
        if word == ">":
            return len(wanted.words) > place
        if place >= len(wanted.words) or wanted.words[place] == ">":
            return False
        if word not in ("*", wanted.words[place]):
            return False
    return len(words) == len(wanted.words)


def _topics(pattern: str, scope: str) -> None:
    try:
        TopicPattern.parse(pattern)
    except InvalidArgument as error:
        raise InvalidArgument(f"scope {scope!r}: {error.message}") from None


def _nearest(word: str) -> str:
    near = nearest(word, Action)
    return f"; did you mean {_example(Action(near))!r}?" if near else f"; scopes begin with {', '.join(Action)}"


def _example(action: Action) -> str:
    if action in _PLAIN:
        return str(action)
    if action is Action.SESSIONS:
        return "sessions:own"
    return f"{action}:*@*" if action in _EVENTS else f"{action}:*"
