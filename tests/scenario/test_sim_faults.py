"""Each fault that a chat platform is known for, injected into a running daemon, and what its users see."""

import asyncio
import json
from collections.abc import AsyncIterator
from time import monotonic

import pytest
import pytest_asyncio

from tests.rigs.house import House, eventually, house, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
gateway: {session_config: {timeout: 1h}}
agents:
  echo: {model: offline/echo}
  count: {model: offline/count}

channels:
  conflict: {platform: sim, routing: {dm: echo}, faults: {conflict: 1}, script: [{from: ann, text: after the 409}]}
  limited: {platform: sim, server: "unix:@limited", routing: {dm: echo}}
  twice: {platform: sim, server: "unix:@twice", routing: {dm: echo}}
  mixed: {platform: sim, server: "unix:@mixed", routing: {dm: echo}, session_scope: per_chat}
  polls: {platform: sim, server: "unix:@polls", routing: {dm: echo}}
  hold: {platform: sim, server: "unix:@hold", routing: {dm: echo}}
  resend: {platform: sim, server: "unix:@resend", routing: {dm: echo}, ambiguous: resend}
  knows: {platform: sim, server: "unix:@knows", routing: {dm: echo}, idempotent_send: true}
  slow: {platform: sim, server: "unix:@slow", routing: {dm: echo}}
  refuses: {platform: sim, server: "unix:@refuses", routing: {dm: count}, max_message_length: 40}
  bad: {platform: sim, routing: {dm: echo}, token: bad}
  paced: {platform: sim, server: "unix:@paced", routing: {dm: echo}, rate_limit: 4}
  scripted:
    platform: sim
    routing: {dm: echo}
    faults: {rate_limit: 1, retry_after: 100ms, duplicates: 2, reorder: 1, disconnects: 1, slow: 5ms, reject: 1}
    script: [{from: ann, text: one}, {from: bob, text: two}, {from: eve, text: three}]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("faults"), CONFIG) as rig:
        yield rig


async def test_F71_a_429_is_obeyed_and_the_rooms_order_kept(rig: House) -> None:
    """retry_after of the platform is waited for, by the whole channel, and nothing overtakes (P7.2)."""
    net = rig.networks["limited"]
    net.fault("rate_limit", 1, 0.6)
    began = monotonic()
    net.say("r", "ann", "first")
    said = net.say("r", "ann", "second")

    assert await rig.hear("r", 2, network="limited") == ["first", "second"]
    assert monotonic() - began >= 0.6
    assert state_of(await rig.story(said, "limited")) == "answered"


async def test_a_message_that_comes_twice_has_one_effect(rig: House) -> None:
    """A redelivered update is recognised by the platform's id: one answer, one execution (P7.2)."""
    net = rig.networks["twice"]
    net.fault("duplicates", 5)
    said = [net.say("r", "ann", f"message {number}") for number in range(5)]
    await net.wait_acknowledged(timeout=60)
    for each in said:
        assert state_of(await rig.story(each, "twice")) == "answered"

    assert await rig.hear("r", 5, network="twice") == [f"message {number}" for number in range(5)]
    assert len(await rig.events("execution_queued", stream_id="echo", size=1000)) >= 5
    assert (await rig.channel("twice")).messages_out == 5


async def test_messages_that_come_out_of_order_are_all_answered(rig: House) -> None:
    """A platform that reorders loses nothing: each message is answered once, as it came."""
    net = rig.networks["mixed"]
    net.fault("reorder", 1)
    texts = [f"message {number}" for number in range(4)]
    for text in texts:
        net.say("r", "ann", text)

    assert sorted(await rig.hear("r", 4, network="mixed")) == texts


async def test_a_cut_poll_is_made_again(rig: House) -> None:
    """A connection that breaks while it polls: RETRYING, then READY, and the message is taken (P7.4)."""
    net = rig.networks["polls"]
    net.fault("disconnects", 1)
    net.say("r", "ann", "still there?")

    assert await rig.hear("r", network="polls") == ["still there?"]
    changes = [each.channel_state_changed for each in await rig.events("channel_state_changed", stream_id="polls")]
    assert [each.new for each in changes][-3:] == ["retrying", "starting", "ready"]
    assert "cut" in changes[-3].reason


async def test_F80_an_ambiguous_send_is_held_and_an_operator_sends_it(rig: House) -> None:
    """ambiguous: hold, the default: no repetition by itself; a dead letter that says so; a retry by hand (P7.2)."""
    net = rig.networks["hold"]
    net.fault("disconnects_sending", 1)
    said = net.say("r", "ann", "once, or twice?")

    story = await rig.story(said, "hold")
    assert (state_of(story), story.message.reason) == ("dead_lettered", "ambiguous")
    (letter,) = await rig.dead_letters("hold")
    assert letter.reason == "ambiguous"
    assert len(await rig.hear("r", network="hold")) == 1

    code, out, _ = await rig.daemon.ctl("dead-letters", "retry", letter.id)

    assert code == 0, out
    assert await rig.hear("r", 2, network="hold") == ["once, or twice?"] * 2
    assert state_of(await rig.story(said, "hold")) == "answered"
    assert not await rig.dead_letters("hold")


async def test_F80_an_ambiguous_send_is_sent_again_where_that_is_chosen(rig: House) -> None:
    """ambiguous: resend: at most one repetition, never a loss."""
    net = rig.networks["resend"]
    net.fault("disconnects_sending", 1)
    said = net.say("r", "ann", "twice rather than never")

    assert await rig.hear("r", 2, network="resend") == ["twice rather than never"] * 2
    assert state_of(await rig.story(said, "resend")) == "answered"


async def test_F80_a_platform_that_knows_the_key_shows_a_resend_once(rig: House) -> None:
    """idempotent_send: the same key is sent again, and the platform recognises it (P7.2)."""
    net = rig.networks["knows"]
    net.fault("disconnects_sending", 1)
    said = net.say("r", "ann", "exactly once")

    story = await rig.story(said, "knows")

    assert state_of(story) == "answered"
    assert story.parts[0].attempts == 2
    assert await rig.hear("r", network="knows") == ["exactly once"]


async def test_a_slow_platform_only_takes_its_time(rig: House) -> None:
    """Slow answers of the platform delay, and nothing is lost, doubled or reordered."""
    net = rig.networks["slow"]
    net.fault("slow", 20, 0.05)
    for number in range(5):
        net.say("r", "ann", f"message {number}")

    assert await rig.hear("r", 5, network="slow") == [f"message {number}" for number in range(5)]


async def test_a_rejected_message_is_a_dead_letter_with_all_its_pieces(rig: House) -> None:
    """The platform refuses for good: the rest of the answer is not sent, and a retry sends all of it (P7.2)."""
    net = rig.networks["refuses"]
    net.fault("reject", 1)
    said = net.say("r", "ann", "count to 40")

    story = await rig.story(said, "refuses")
    assert state_of(story) == "dead_lettered"
    assert not net.heard("r")
    net.say("r", "ann", "count to 2")
    assert await rig.hear("r", network="refuses") == ["1 2"]

    (letter,) = await rig.dead_letters("refuses")
    assert letter.reason == "refused"
    code, out, _ = await rig.daemon.ctl("dead-letters", "retry", letter.id)

    assert code == 0, out
    pieces = await rig.hear("r", 1 + len(story.parts), network="refuses")
    assert " ".join(pieces[1:]) == " ".join(str(number) for number in range(1, 41))
    assert state_of(await rig.story(said, "refuses")) == "answered"


async def test_a_refused_token_makes_its_channel_failed_and_no_other(rig: House) -> None:
    """FAILED says what a human must do; the daemon and the other channels run (P1.6, P7.4)."""
    channel = await rig.channel_is("bad", "failed")

    assert "channels.bad.token" in channel.reason
    assert (await rig.channel("slow")).reason == ""


async def test_rate_limit_spaces_what_is_sent(rig: House) -> None:
    """rate_limit: 4 sends a second at most; a burst of one second's worth is allowed (P2.8)."""
    net = rig.networks["paced"]
    for number in range(9):
        net.say(f"r{number}", "ann", "now")

    heard = await net.wait_heard(9, timeout=60)

    # Nine messages are a burst of four and five more at four a second.
    assert 1.0 <= heard[-1].time - heard[0].time < 8


async def test_a_network_of_the_channels_own_has_users_and_faults(rig: House) -> None:
    """`script` and `faults` of a sim channel without a server do the same inside the daemon."""

    async def all_ended() -> dict[str, str] | None:
        code, out, _ = await rig.daemon.ctl("messages", "--channel", "scripted", "-o", "json")
        assert code == 0
        found = {each["peer"]: each["state"] for each in _json(out)}
        return found if len(found) == 3 and not set(found.values()) & {"queued", "executed"} else None

    found = await eventually(all_ended)

    assert sorted(found.values()) == ["answered", "answered", "dead_lettered"]


async def test_F70_a_409_is_told_waited_out_and_heals(rig: House) -> None:
    """Another poller has the token: the status says so, and the channel heals by itself (P7.4)."""

    async def answered() -> bool:
        return (await rig.channel("conflict")).messages_out == 1

    await eventually(answered)

    changes = [each.channel_state_changed for each in await rig.events("channel_state_changed", stream_id="conflict")]
    assert [each.new for each in changes] == ["retrying", "starting", "ready"]
    assert "another connection polls with this token" in changes[0].reason
    assert changes[0].retry_time.seconds > 0
    async with asyncio.timeout(60):
        await rig.channel_is("conflict", "ready")


def _json(text: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(text)
    return found
