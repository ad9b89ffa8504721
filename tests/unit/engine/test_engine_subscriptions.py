"""Subscriptions: found by table, added and removed on their own, and no trace of topics that nobody wants."""

import pytest
from engine_rig import Collector, Note, collector, running
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.errors import AgentNotFound, AlreadyExists, InvalidArgument, NotFound
from gatewayd.engine.errors import SubscriptionExists, SubscriptionNotFound
from gatewayd.engine.handlers import HandlerAgent
from gatewayd.engine.subscriptions import Subscription, Subscriptions, direct
from gatewayd.testing.fakes import until

words = st.text("ab.:", min_size=1, max_size=4)
subscription = st.builds(Subscription, words, st.sampled_from(["x", "y", "z"]), st.booleans())


@given(st.lists(st.tuples(st.booleans(), subscription)), st.lists(words, min_size=1))
def test_the_table_finds_what_a_scan_finds(steps: list[tuple[bool, Subscription]], topics: list[str]) -> None:
    """Also after removals, and however often it was asked in between."""
    table, plain = Subscriptions(), dict[str, Subscription]()
    for add, one in steps:
        if add and one.id not in plain:
            table.add(one)
            plain[one.id] = one
        elif add:
            with pytest.raises(SubscriptionExists):
                table.add(one)
        elif one.id in plain:
            table.remove(one.id)
            del plain[one.id]
        else:
            with pytest.raises(SubscriptionNotFound):
                table.remove(one.id)
        for topic in topics:
            found = table.agents_for(topic)
            wanted = {
                each.agent_type
                for each in plain.values()
                if (topic.startswith(each.topic_type) if each.prefix else topic == each.topic_type)
            }
            assert set(found) == wanted
            assert len(found) == len(wanted), "each agent once"
    for one in list(plain.values()):
        table.remove(one.id)
    left = [table._exact, table._prefixes, table._by_agent, table._by_id, table._routes]
    assert not any(left)


def test_unseen_topics_leave_no_trace_and_the_seen_ones_a_bounded_number() -> None:
    table = Subscriptions()
    table.add(Subscription("wanted", "x", prefix=True))
    for number in range(5000):
        assert table.agents_for(f"unwanted{number}") == ()
    assert not table._routes
    for number in range(5000):
        assert table.agents_for(f"wanted{number}") == ("x",)
    assert len(table._routes) <= 1024


def test_one_change_forgets_no_route_but_its_own() -> None:
    table = Subscriptions()
    for number in range(100):
        table.add(Subscription(f"t{number}", "x"))
        table.agents_for(f"t{number}")
    table.add(Subscription("t0", "y"))
    assert len(table._routes) == 99
    assert table.agents_for("t0") == ("x", "y")


def test_the_same_pair_and_the_same_id_are_refused() -> None:
    table = Subscriptions()
    table.add(Subscription("t", "x", id="mine"))
    for again in (Subscription("t", "x", id="other"), Subscription("u", "x", id="mine")):
        with pytest.raises(AlreadyExists):
            table.add(again)
    table.add(Subscription("t", "x", prefix=True))
    with pytest.raises(NotFound):
        table.remove("other")
    assert [each.id for each in table.all()] == ["mine", "t* -> x"]


def test_grammars() -> None:
    assert AgentId.parse("a.b-c_1/k/e y") == AgentId("a.b-c_1", "k/e y")
    assert AgentId.parse("a") == AgentId("a", "default")
    assert str(TopicId.parse("a:b=c/é")) == "a:b=c/é"
    assert (str(AgentId("a", "b")), str(TopicId())) == ("a/b", "default/default")
    for wrong in ("", "a b", "a\n", "a:b", "a/", "a/x\n", "x" * 257, "a/" + "k" * 1025):
        with pytest.raises(InvalidArgument):
            AgentId.parse(wrong)
    for wrong in ("", "a b", "a\n", "a/", "a/\x00"):
        with pytest.raises(InvalidArgument):
            TopicId.parse(wrong)


async def test_a_registration_subscribes_the_class_and_to_its_own_name() -> None:
    class Wide(Collector):
        topic_prefixes = ("weather.",)

    async with running() as rig:
        rig.engine.register("wide", Wide)
        assert {each.id for each in rig.engine.subscriptions()} == {
            "news -> wide",
            "weather.* -> wide",
            "wide:* -> wide",
        }
        for topic in ("news", "weather.rome", "wide:anything", "default"):
            await rig.engine.publish(Note(topic), TopicId(topic))
        await until(lambda: rig.engine.stats().delivered == 3)
        assert collector(rig.engine, "wide").got == ["news", "weather.rome", "wide:anything"]
        assert direct("wide").id == "wide:* -> wide"


async def test_the_default_topic_reaches_those_who_subscribed_to_it() -> None:
    class ByDefault(Collector):
        topics = (TopicId().type,)

    async with running() as rig:
        rig.engine.register("one", ByDefault)
        rig.engine.register("two", Collector)
        assert await rig.engine.publish(Note("x"), TopicId()) == 1


async def test_subscriptions_come_and_go_while_it_runs() -> None:
    class Plain(HandlerAgent):
        """No topics of its own."""

    async with running() as rig:
        rig.engine.register("plain", Plain)
        assert await rig.engine.publish(Note(""), TopicId("t")) == 0
        rig.engine.add_subscription(Subscription("t", "plain", id="s"))
        assert await rig.engine.publish(Note(""), TopicId("t")) == 1
        with pytest.raises(SubscriptionExists):
            rig.engine.add_subscription(Subscription("t", "plain"))
        with pytest.raises(AgentNotFound):
            rig.engine.add_subscription(Subscription("t", "nobody"))
        rig.engine.remove_subscription("s")
        assert await rig.engine.publish(Note(""), TopicId("t")) == 0
        with pytest.raises(SubscriptionNotFound):
            rig.engine.remove_subscription("s")
