"""Scopes: the grammar, what they allow, and that nothing else is allowed."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.access.scopes import EVERY_SCOPE, Action, Scope, Scopes, check_scope
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.event import EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.topic import TopicPattern

TYPES = st.sampled_from(list(EventType))
WORD = st.text("abc", min_size=1, max_size=2)
TOPIC = st.lists(WORD, min_size=1, max_size=4).map(".".join)


@st.composite
def patterns(draw):
    words = draw(st.lists(WORD | st.just("*"), min_size=0, max_size=3))
    if not words or draw(st.booleans()):
        words.append(draw(st.sampled_from([">", "a"])))
    return ".".join(words)


NAMES = st.text("ab*-.", min_size=1, max_size=6)


@pytest.mark.parametrize(
    "text",
    [
        "events.publish:message@orders.>",
        "events.subscribe:*@*",
        "events.subscribe:llm_text_delta@>",
        "sessions:own",
        "sessions:all",
        "agents.send:*",
        "agents.send:help-*",
        "agents.register:worker",
        "runtime:nightly",
        "push:news.*",
        "state:counters.>",
        "state.read:*",
        "admin.read",
        "admin.write",
        "approve",
    ],
)
def test_every_form_of_the_grammar_is_read_and_written_alike(text):
    assert str(Scope.parse(text)) == text
    check_scope(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "scopes begin with"),
        ("*", "scopes begin with"),
        ("admin", "did you mean 'admin.read'"),
        ("admin.reed", "did you mean 'admin.read'"),
        ("agent.send:a", "did you mean 'agents.send:*'"),
        ("admin.read:*", "write 'admin.read' alone"),
        ("approve:", "write 'approve' alone"),
        ("agents.send", "write 'agents.send:*'"),
        ("agents.send:", "write 'agents.send:*'"),
        ("agents.send:a b", "a name holds"),
        ("agents.send:[ab]", "a name holds"),
        ("sessions:mine", "'sessions:own' or 'sessions:all'"),
        ("sessions:*", "'sessions:own' or 'sessions:all'"),
        ("events.publish:message", "write 'events.publish:message@*'"),
        ("events.publish:message@", "write 'events.publish:message@*'"),
        ("events.publish:mesage@*", "did you mean 'message'"),
        ("events.publish:MESSAGE@*", "did you mean 'message'"),
        ("events.publish:@*", "'*' stands for every type"),
        ("events.publish:*@a..b", "stands for one word"),
        ("events.publish:*@>.a", "only as the last word"),
        ("push:a b", "stands for one word"),
        ("push:" + "a" * 600, "at most 512"),
    ],
)
def test_what_is_wrong_is_refused_with_a_hint(text, hint):
    with pytest.raises(InvalidArgument) as caught:
        check_scope(text)
    assert hint in caught.value.message


def test_nothing_is_allowed_by_default():
    nobody = Scopes()
    for action in Action:
        assert not nobody.holds(action)
        if action not in (Action.PUBLISH, Action.SUBSCRIBE):
            assert not any(nobody.allows(action, subject) for subject in ("", "a", "own", "all"))
    assert not nobody.may_publish(EventType.MESSAGE, "")
    assert not nobody.may_subscribe(EventFilter())
    assert not nobody.may_subscribe(EventFilter(types=frozenset()))
    assert not nobody.all_sessions


def test_every_scope_is_every_scope():
    for action in (Action.SEND, Action.REGISTER, Action.RUNTIME, Action.PUSH, Action.STATE):
        assert EVERY_SCOPE.allows(action, "any.thing")
    for action in (Action.ADMIN_READ, Action.ADMIN_WRITE, Action.APPROVE):
        assert EVERY_SCOPE.allows(action)
    assert EVERY_SCOPE.may_publish(EventType.CUSTOM, "")
    assert EVERY_SCOPE.may_subscribe(EventFilter())
    assert EVERY_SCOPE.all_sessions
    assert Scopes.parse(EVERY_SCOPE.texts()) == EVERY_SCOPE


@pytest.mark.parametrize(
    ("scope", "action", "allowed", "denied"),
    [
        ("agents.send:help", Action.SEND, ["help"], ["helper", "hel", "", "HELP"]),
        ("agents.send:help-*", Action.SEND, ["help-", "help-1"], ["help", "xhelp-1"]),
        ("agents.send:*-*-x", Action.SEND, ["--x", "a-b-x"], ["a-x", "x"]),
        ("agents.send:ab*ba", Action.SEND, ["abba", "abXba"], ["aba"]),
        ("sessions:own", Action.SESSIONS, ["own"], ["all", ""]),
        ("sessions:all", Action.SESSIONS, ["own", "all"], [""]),
        ("push.join:a.*", Action.PUSH_JOIN, ["a.b"], ["a", "a.b.c", ""]),
        ("push.publish:a.>", Action.PUSH_PUBLISH, ["a.b", "a.b.c"], ["a", ""]),
        ("state.read:a.*", Action.STATE_READ, ["a.b"], ["a", "a.b.c", ""]),
        ("state.write:a.>", Action.STATE_WRITE, ["a.b", "a.b.c"], ["a", ""]),
        ("push.manage:a", Action.PUSH_MANAGE, ["a"], ["b", ""]),
        ("admin.read", Action.ADMIN_READ, [""], ["x"]),
        ("runtime:n*", Action.RUNTIME, ["nightly"], ["daily"]),
    ],
)
def test_a_scope_holds_for_what_it_names(scope, action, allowed, denied):
    scopes = Scopes.parse([scope])
    assert all(scopes.allows(action, subject) for subject in allowed)
    assert not any(scopes.allows(action, subject) for subject in denied)
    others = set(Action) - {action, Action.PUBLISH, Action.SUBSCRIBE}
    assert not any(scopes.allows(other, subject) for other in others for subject in (*allowed, *denied))


def test_push_is_its_three_parts_and_nothing_else():
    scopes = Scopes.parse(["push:a.*"])
    parts = {Action.PUSH, Action.PUSH_JOIN, Action.PUSH_PUBLISH, Action.PUSH_MANAGE}
    assert all(scopes.allows(action, "a.b") and scopes.holds(action) for action in parts)
    assert not any(scopes.allows(action, topic) for action in parts for topic in ("a", "a.b.c", ""))
    others = set(Action) - parts
    assert not any(scopes.holds(action) for action in others)


def test_state_is_reading_and_writing_and_nothing_else():
    scopes = Scopes.parse(["state:a.*"])
    parts = {Action.STATE, Action.STATE_READ, Action.STATE_WRITE}
    assert all(scopes.allows(action, "a.b") and scopes.holds(action) for action in parts)
    assert not any(scopes.allows(action, key) for action in parts for key in ("a", "a.b.c", ""))
    assert not any(scopes.holds(action) for action in set(Action) - parts)


def test_an_event_without_a_topic_needs_a_scope_for_all_topics():
    assert not Scopes.parse(["events.publish:*@a.>"]).may_publish(EventType.MESSAGE, "")
    assert Scopes.parse(["events.publish:*@>"]).may_publish(EventType.MESSAGE, "")


def test_a_subscription_wider_than_the_scope_is_denied():  # F60
    scopes = Scopes.parse(["events.subscribe:message@orders.*"])
    message = frozenset({EventType.MESSAGE})
    assert scopes.may_subscribe(EventFilter(types=message, topic=TopicPattern.parse("orders.eu")))
    assert scopes.may_subscribe(EventFilter(types=message, topic=TopicPattern.parse("orders.*")))
    for wider in (
        EventFilter(),
        EventFilter(types=message),
        EventFilter(topic=TopicPattern.parse("orders.eu")),
        EventFilter(types=message, topic=TopicPattern.parse("orders.>")),
        EventFilter(types=message, topic=TopicPattern.parse("*.*")),
        EventFilter(types=message | {EventType.ERROR}, topic=TopicPattern.parse("orders.eu")),
    ):
        assert not scopes.may_subscribe(wider)


@given(patterns(), patterns(), TOPIC)
def test_who_may_subscribe_may_see_every_topic_of_it(scope, wanted, topic):
    scopes = Scopes.parse([f"events.subscribe:*@{scope}"])
    pattern = TopicPattern.parse(wanted)
    if scopes.may_subscribe(EventFilter(topic=pattern)) and pattern.matches(topic):
        alone = scope in ("*", ">")
        assert alone or TopicPattern.parse(scope).matches(topic)


@given(patterns(), TOPIC)
def test_a_concrete_topic_is_covered_exactly_when_it_matches(scope, topic):
    scopes = Scopes.parse([f"events.subscribe:*@{scope}"])
    matches = scope in ("*", ">") or TopicPattern.parse(scope).matches(topic)
    assert scopes.may_subscribe(EventFilter(topic=TopicPattern.parse(topic))) == matches


@given(NAMES, NAMES)
def test_names_match_like_a_shell_pattern(pattern, name):
    assert Scopes.parse([f"agents.send:{pattern}"]).allows(Action.SEND, name) == fnmatch.fnmatchcase(name, pattern)


@given(TYPES, TYPES, TOPIC)
def test_a_type_s_scope_is_of_no_other_type(mine, other, topic):
    scopes = Scopes.parse([f"events.publish:{mine.label}@>"])
    assert scopes.may_publish(other, topic) == (mine is other)
    assert not scopes.may_subscribe(EventFilter(types=frozenset({mine})))


@given(st.text(max_size=40))
def test_any_text_is_a_scope_or_refused(text):
    try:
        scope = Scope.parse(text)
    except InvalidArgument:
        return
    assert Scope.parse(str(scope)) == scope
