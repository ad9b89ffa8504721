"""People talk to agents in rooms of every kind, through bots on one simulated network."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from gateway.v1 import session_service_pb2

from tests.rigs.house import House, eventually, house, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
agents:
  echo: {model: offline/echo}
  count: {model: offline/count}
  memory: {model: offline/assistant}
  broken: {model: offline/fail}

channels:
  dms: {platform: sim, server: "unix:@net", token: dms, account: concierge, routing: {dm: echo}}
  other: {platform: sim, server: "unix:@net", token: other, routing: {dm: count}}
  mention: {platform: sim, server: "unix:@net", token: mention, routing: {group: echo}}
  everyone: {platform: sim, server: "unix:@net", token: everyone, routing: {default: echo}, group_policy: respond_all}
  commands: {platform: sim, server: "unix:@net", token: commands, routing: {group: echo}, group_policy: command_only}
  watcher:
    {platform: sim, server: "unix:@net", token: watcher, routing: {dm: count, channel: memory}, group_policy: observe}
  aliased: {platform: sim, server: "unix:@net", token: aliased, routes: {dm: echo}}
  failing: {platform: sim, server: "unix:@net", token: failing, routing: {dm: broken}}
  short: {platform: sim, server: "unix:@net", token: short, routing: {dm: count}, max_message_length: 40}
  "off": {platform: sim, enabled: false, server: "unix:@net", token: "off", routing: {dm: echo}}
  sim: {routing: {dm: echo}, script: [{from: zoe, text: said by the script, thread: t9}]}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("rooms"), CONFIG) as rig:
        yield rig


async def silent(rig: House, said: str, channel: str) -> str:
    """The story of a message that must end without an answer; the reason that it gives."""
    story = await rig.story(said, channel)
    assert state_of(story) == "silent"
    assert not story.parts
    return story.message.reason


async def test_a_direct_message_is_answered_where_it_was_said(rig: House) -> None:
    """channels.<name>.routing.dm names the agent; the answer quotes the message and goes to its room (P7.1, P7.5)."""
    said = rig.network.say("ann", "ann", "hello there", token="dms", thread="t1")

    (heard,) = await rig.network.wait_heard(1, "ann", timeout=60)

    assert (heard.text, heard.thread, heard.quote) == ("hello there", "t1", said)
    assert (await rig.story(said, "dms")).message.rule == "channels.dms.routing.dm"


async def test_routes_is_another_word_for_routing(rig: House) -> None:
    """channels.<name>.routes is an alias (P2.8)."""
    rig.network.say("alias", "ann", "by the alias", token="aliased")

    assert await rig.hear("alias") == ["by the alias"]


async def test_two_bots_of_one_platform_never_cross(rig: House) -> None:
    """Each channel of a platform has its own token, routing and sessions, even for one person in one room (P7.1)."""
    rig.network.say("both", "ann", "one", token="dms")
    rig.network.say("both", "ann", "count to 3", token="other")

    assert sorted(await rig.hear("both", 2)) == ["1 2 3", "one"]

    request = session_service_pb2.ListSessionsRequest()
    sessions = await rig.client.call("SessionService/ListSessions", request, session_service_pb2.ListSessionsResponse)
    here = {each.channel: each for each in sessions.sessions if each.chat == "both"}
    assert (here["dms"].principal, here["dms"].agent) == ("chat:dms/ann", "echo")
    assert (here["other"].principal, here["other"].agent) == ("chat:other/ann", "count")


async def test_mention_only_answers_those_who_address_the_bot(rig: House) -> None:
    """group_policy: mention_only, the default: mentions and commands are answered, the rest is silence."""
    ignored = rig.network.say("g1", "ann", "to somebody else", context="group", token="mention")
    rig.network.say("g1", "ann", "@bot to you", context="group", mentioned=True, token="mention")

    assert await rig.hear("g1") == ["@bot to you"]
    assert "mention_only" in await silent(rig, ignored, "mention")


async def test_respond_all_answers_everything(rig: House) -> None:
    """group_policy: respond_all."""
    rig.network.say("g2", "ann", "to nobody", context="group", token="everyone")

    assert await rig.hear("g2") == ["to nobody"]


async def test_command_only_answers_commands(rig: House) -> None:
    """group_policy: command_only: not even a mention is answered."""
    ignored = rig.network.say("g3", "ann", "@bot hello", context="group", mentioned=True, token="commands")
    rig.network.say("g3", "ann", "/status", context="group", token="commands")

    assert await rig.hear("g3") == ["/status"]
    assert "command_only" in await silent(rig, ignored, "commands")


async def test_what_was_observed_is_known_in_a_later_turn(rig: House) -> None:
    """group_policy: observe: nothing is answered, and all becomes part of the conversation."""
    first = rig.network.say("g4", "ann", "the canary is yellow", context="group", token="watcher")
    second = rig.network.say("g4", "ann", "the cat is grey", context="group", token="watcher")
    assert "observe" in await silent(rig, first, "watcher")
    assert "observe" in await silent(rig, second, "watcher")

    session = (await rig.trace(second, "watcher")).message.session_id
    reply = await rig.client.send("memory", "how many messages have I written?", session_id=session)

    assert reply.content == "You have written 3 messages in this conversation."
    exported = await rig.client.call(
        "SessionService/ExportSession",
        session_service_pb2.ExportSessionRequest(session_id=session),
        session_service_pb2.ExportSessionResponse,
    )
    assert [each.content for each in exported.messages][:2] == ["the canary is yellow", "the cat is grey"]


async def test_group_and_channel_stand_in_for_each_other(rig: House) -> None:
    """A room called channel is answered by the group's rule where there is none of its own (P7.5)."""
    said = rig.network.say("c1", "ann", "@bot in a channel", context="channel", mentioned=True, token="mention")

    assert await rig.hear("c1") == ["@bot in a channel"]
    assert (await rig.story(said, "mention")).message.rule == "channels.mention.routing.group"


async def test_the_default_rule_answers_what_no_other_does(rig: House) -> None:
    """routing.default comes last."""
    said = rig.network.say("c2", "ann", "anywhere", context="channel", token="everyone")

    assert await rig.hear("c2") == ["anywhere"]
    assert (await rig.story(said, "everyone")).message.rule == "channels.everyone.routing.default"


async def test_a_message_that_no_rule_routes_is_told_as_an_error(rig: House) -> None:
    """Binding → context → default → error event (P7.5): nothing is answered, and its story says why."""
    said = rig.network.say("nowhere", "ann", "anybody?", token="mention")

    assert "routing" in await silent(rig, said, "mention")
    (error,) = await rig.events("error", stream_id="mention")
    assert error.error.reason == "NO_ROUTE"


async def test_a_message_without_text_is_journaled_and_left(rig: House) -> None:
    """A sticker or a picture without words asks nobody anything."""
    said = rig.network.say("blank", "ann", " \n", token="dms")

    assert await silent(rig, said, "dms") == "the message has no text"


async def test_a_long_answer_is_split_and_arrives_in_order(rig: House) -> None:
    """max_message_length cuts an answer; its pieces come in order, and the first alone quotes (P7.2, P7.3)."""
    rig.network.say("long", "ann", "count to 60", token="short")

    heard = await rig.network.wait_heard(5, "long", timeout=60)

    assert " ".join(each.text for each in heard) == " ".join(str(number) for number in range(1, 61))
    assert all(len(each.text) <= 40 for each in heard)
    assert [bool(each.quote) for each in heard] == [True, False, False, False, False]


async def test_a_disabled_channel_takes_nothing(rig: House) -> None:
    """enabled: false leaves the platform alone."""
    rig.network.say("nobody", "ann", "is anybody there?", token="off")
    rig.network.say("nobody", "ann", "somebody is here", token="dms")

    assert await rig.hear("nobody") == ["somebody is here"]
    assert rig.network.unacknowledged("off") == 1
    assert (await rig.channel("off")).reason == "disabled"


async def test_the_platform_defaults_to_the_channels_name(rig: House) -> None:
    """`sim:` without `platform` is a sim; its script is said at the start and answered."""

    async def said() -> bool:
        return (await rig.channel("sim")).messages_out == 1

    await eventually(said)
    assert (await rig.channel("sim")).platform == "sim"
    request = session_service_pb2.ListSessionsRequest(channel="sim")
    (session,) = (
        await rig.client.call("SessionService/ListSessions", request, session_service_pb2.ListSessionsResponse)
    ).sessions
    assert (session.peer, session.chat, session.thread) == ("zoe", "dm-zoe", "t9")


async def test_the_bots_own_name_is_shown(rig: House) -> None:
    """The account is a part of the channel's status, and of every session's key."""
    assert (await rig.channel_is("dms", "ready")).account == "concierge"


async def test_a_failed_answer_is_told_to_the_user(rig: House) -> None:
    """failed and told: one terminal state, an honest sentence, and no inside of the gateway (P7.8)."""
    said = rig.network.say("sad", "ann", "please", token="failing")

    (text,) = await rig.hear("sad")

    assert text.startswith("Sorry, this did not work: ")
    assert state_of(await rig.story(said, "failing")) == "failed_and_told"


async def test_rooms_are_answered_side_by_side_and_each_in_order(rig: House) -> None:
    """Twenty rooms with ten messages each: every answer once, in the order of its room (P7.2)."""
    for number in range(10):
        for room in range(20):
            rig.network.say(f"room-{room}", f"peer-{room}", f"{number}", token="dms")

    for room in range(20):
        assert await rig.hear(f"room-{room}", 10) == [f"{number}" for number in range(10)]


async def test_the_explained_route_is_the_one_that_is_taken(rig: House) -> None:
    """`route explain` and the router decide by the same rules (P7.5)."""
    code, out, _ = await rig.daemon.ctl("route", "explain", "mention", "channel")

    assert code == 0
    assert "channels.mention.routing.group" in out
