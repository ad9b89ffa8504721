"""An outbox keeps the pace that its platform and its section ask for, and gives up in the end."""

from channel_rig import OutboxRig, row

from gatewayd.channels.base import ChannelUnavailable, RateLimited
from gatewayd.channels.outbox import MAX_TRIES


async def test_F71_the_whole_channel_waits_as_long_as_the_platform_asks() -> None:
    async with OutboxRig() as rig:
        rig.start()
        rig.adapter.outcomes["a"] = [RateLimited("429", retry_after=7.0)]
        rig.offer(row(1, "a", chat="a"))
        await rig.clock.advance(0)
        rig.offer(row(2, "b", chat="b"), row(3, "a2", chat="a"))
        await rig.clock.advance(6.9)
        assert rig.adapter.tried == ["a"]

        await rig.clock.advance(0.2)

        assert sorted(rig.adapter.texts()) == ["a", "a2", "b"]
        assert rig.adapter.texts("a") == ["a", "a2"]


async def test_a_platform_that_is_away_is_tried_again_ever_more_slowly() -> None:
    async with OutboxRig() as rig:
        rig.start()
        rig.adapter.outcomes["text 1"] = [ChannelUnavailable("502"), ChannelUnavailable("502")]
        rig.offer(row(1))
        await rig.clock.advance(1.9)
        assert len(rig.adapter.tried) == 1
        await rig.clock.advance(0.2)
        assert len(rig.adapter.tried) == 2
        await rig.clock.advance(3.4)
        assert len(rig.adapter.tried) == 2
        await rig.clock.advance(0.3)

        assert rig.adapter.texts() == ["text 1"]
        assert rig.store.rows["row-00001"].attempts == 3


async def test_after_too_many_tries_it_is_undeliverable() -> None:
    async with OutboxRig() as rig:
        rig.start()
        rig.adapter.outcomes["text 1"] = [ChannelUnavailable("502") for _ in range(MAX_TRIES)]
        rig.offer(row(1), row(2))
        await rig.clock.advance(3600)

        assert rig.adapter.tried.count("text 1") == MAX_TRIES
        assert rig.store.letters[0].reason == "undeliverable: 502"
        assert rig.adapter.texts() == ["text 2"]


async def test_a_platform_that_asks_to_slow_down_for_a_day_gets_no_more_tries() -> None:
    async with OutboxRig() as rig:
        rig.start()
        rig.adapter.outcomes["text 1"] = [RateLimited("429", retry_after=3600) for _ in range(100)]
        rig.offer(row(1))
        await rig.clock.advance(3 * 86_400)

        assert rig.store.letters[0].reason == "undeliverable: 429"
        assert 24 <= len(rig.adapter.tried) <= 26


async def test_the_rate_of_the_section_holds_and_changes_live() -> None:
    async with OutboxRig(rate=1000.0) as rig:
        rig.section_of(rate_limit=2.0)
        rig.start()
        await rig.clock.advance(10)
        rig.offer(*(row(number, chat=str(number)) for number in range(30)))
        await rig.clock.advance(0)
        assert len(rig.adapter.sent) == 2
        await rig.clock.advance(3)
        assert len(rig.adapter.sent) == 8

        rig.section_of(rate_limit=0.0)
        await rig.clock.advance(1)

        assert len(rig.adapter.sent) == 30


async def test_without_a_rate_of_its_own_the_platform_s_holds() -> None:
    async with OutboxRig(rate=5.0) as rig:
        rig.start()
        rig.offer(*(row(number, chat=str(number)) for number in range(20)))
        await rig.clock.advance(1)

        assert len(rig.adapter.sent) == 10
