"""Who is there: told on change only, bounded however often somebody comes and goes."""

from gatewayd.core.push import PresenceKind
from tests.rigs.push_house import Hand, PushRig


async def test_coming_saying_something_new_and_going_are_told_once_each(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", status="busy", metadata={"mood": "good"})
        assert rig.presence() == [("ann", "join", "busy")]
        for _ in range(5):
            await rig.pass_time(2)
            await ann.join("news", status="busy", metadata={"mood": "good"})
        assert rig.presence() == []
        await ann.join("news", status="busy", metadata={"mood": "bad"})
        assert rig.presence() == [("ann", "update", "busy")]
        await rig.pass_time(2)
        ann.close()
        assert rig.presence() == [("ann", "leave", "busy")]


async def test_the_event_names_the_topic_and_the_client_and_never_touches_the_log(tmp_path):
    async with PushRig(tmp_path) as rig:
        await Hand(rig, "ann").join("news.eu", metadata={"mood": "good"})
        (event,) = rig.events
        assert (event.topic, event.stream_id, event.source, event.durable) == ("news.eu", "ann", "gatewayd", False)
        assert event.data == {
            "topic": "news.eu",
            "client_id": "ann",
            "status": "online",
            "metadata": {"mood": "good"},
        }


async def test_a_connection_that_breaks_leaves_its_client_there_until_the_timeout(tmp_path):
    async with PushRig(tmp_path, gateway={"reconnect_timeout": "100s"}) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news")
        rig.presence()
        ann.cut(silent_for=5)
        await rig.pass_time(39)
        assert rig.presence() == []
        assert (await rig.topic("news")).present == 1
        await rig.pass_time(2)
        assert rig.presence() == [("ann", "leave", "online")]
        assert (await rig.topic("news")).present == 0


async def test_a_client_that_comes_back_in_time_was_never_away(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news")
        rig.presence()
        for _ in range(20):
            ann.cut()
            await rig.pass_time(10)
            ann = Hand(rig, "ann")
        await rig.pass_time(100)
        assert rig.presence() == []
        assert (await rig.topic("news")).present == 1


async def test_one_that_was_silent_for_longer_than_the_timeout_is_gone_at_once(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news")
        rig.presence()
        ann.cut(silent_for=60)
        await rig.pass_time(1)
        assert rig.presence() == [("ann", "leave", "online")]


async def test_F82_somebody_who_flaps_costs_one_change_in_each_interval(tmp_path):
    async with PushRig(tmp_path, {"presence": {"min_interval": "5s"}}) as rig:
        bob = Hand(rig, "bob")
        await bob.join("news", watch_presence=True)
        ann = Hand(rig, "ann")
        topic = await rig.topic("news")
        rig.presence()
        for flap in range(500):
            await ann.join("news", status=f"s{flap}")
            await rig.house.topics.leave(topic, ann.peer)
            if flap % 50 == 49:
                await rig.clock.advance(1)
        told = rig.presence()
        assert 2 <= len(told) <= 4, told
        assert len(rig.house.timers) < 20
        await rig.pass_time(20)
        assert rig.presence() == []
        assert topic.present == 1
        assert len(rig.house.presence) == 1
        frame = bob.frame()
        assert frame is not None
        assert len(frame.presence_changes) == 1


async def test_what_happens_in_between_is_told_as_its_end(tmp_path):
    async with PushRig(tmp_path, {"presence": {"min_interval": "5s"}}) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", status="a")
        for status in "bcd":
            await ann.join("news", status=status)
        assert rig.presence() == [("ann", "join", "a")]
        await rig.pass_time(6)
        assert rig.presence() == [("ann", "update", "d")]


async def test_without_an_interval_everything_is_told(tmp_path):
    async with PushRig(tmp_path, {"presence": {"min_interval": 0}}) as rig:
        ann = Hand(rig, "ann")
        for status in "abc":
            await ann.join("news", status=status)
        assert [status for _, _, status in rig.presence()] == ["a", "b", "c"]


async def test_only_who_watches_is_told_and_nobody_of_himself(tmp_path):
    async with PushRig(tmp_path) as rig:
        watcher, other = Hand(rig, "watcher"), Hand(rig, "other")
        await watcher.join("news", watch_presence=True)
        await other.join("news")
        ann = Hand(rig, "ann")
        await ann.join("news", metadata={"n": 1})
        frame = watcher.frame()
        assert frame is not None
        assert [(one.client_id, one.kind) for one in frame.presence_changes] == [
            ("other", PresenceKind.JOIN),
            ("ann", PresenceKind.JOIN),
        ]
        assert other.frame() is None
        assert ann.frame() is None


async def test_a_topic_that_goes_takes_who_was_there_with_it(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news")
        await rig.pass_time(2)
        rig.presence()
        await rig.house.topics.delete(await rig.topic("news"))
        assert rig.presence() == [("ann", "leave", "online")]
        await rig.pass_time(5)
        assert len(rig.house.presence) == 0
        assert rig.house.stats()["topics"] == 0


async def test_nothing_is_left_of_clients_that_went(tmp_path):
    async with PushRig(tmp_path) as rig:
        for number in range(200):
            ann = Hand(rig, f"ann-{number}")
            await ann.join("news")
            ann.close()
        await rig.pass_time(10)
        assert rig.house.topics.clients == {}
        assert len(rig.house.presence) == 0
        assert len(rig.house.timers) == 0
