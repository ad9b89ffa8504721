"""Conversations: who shares one, what is remembered, when it ends, and what an operator may do with it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from gateway.v1 import session_pb2, session_service_pb2

from gatewayctl.client import LimitExceeded, NotFound, event_filter
from tests.rigs.house import House, eventually, house, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
gateway: {max_sessions_per_agent: 40}
agents:
  memory: {model: offline/assistant}
  slow: {model: offline/slow}
  popular: {model: offline/echo}
channels:
  mine: {platform: sim, server: "unix:@net", token: mine, routing: {default: memory}, group_policy: respond_all}
  ours: {platform: sim, server: "unix:@net", token: ours, routing: {group: memory}, group_policy: respond_all,
         session_scope: per_chat}
  queue: {platform: sim, server: "unix:@net", token: queue, routing: {dm: slow}}
  interrupt: {platform: sim, server: "unix:@net", token: interrupt, routing: {dm: slow}, busy_mode: interrupt}
  steer: {platform: sim, server: "unix:@net", token: steer, routing: {dm: slow}, busy_mode: steer}
  popular: {platform: sim, server: "unix:@net", token: popular, routing: {dm: popular}}
"""
HOW_MANY = "how many messages have I written?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("sessions"), CONFIG) as rig:
        yield rig


async def sessions(rig: House, **conditions: str) -> list[session_pb2.Session]:
    request = session_service_pb2.ListSessionsRequest(**conditions)  # type: ignore[arg-type]
    answer = await rig.client.call("SessionService/ListSessions", request, session_service_pb2.ListSessionsResponse)
    return list(answer.sessions)


async def export(rig: House, session_id: str) -> list[str]:
    request = session_service_pb2.ExportSessionRequest(session_id=session_id)
    answer = await rig.client.call("SessionService/ExportSession", request, session_service_pb2.ExportSessionResponse)
    return [each.content for each in answer.messages]


async def say(rig: House, chat: str, peer: str, text: str, channel: str, count: int, context: str = "dm") -> str:
    """Say something and wait for the room's message number `count`."""
    rig.network.say(chat, peer, text, token=channel, context=context)
    return (await rig.hear(chat, count))[-1]


async def test_a_turn_remembers_those_before_it(rig: House) -> None:
    """One conversation per person and room (P7.6)."""
    assert "message 1 of" in await say(rig, "ann", "ann", "I like canaries", "mine", 1)
    assert "message 2 of" in await say(rig, "ann", "ann", "and cats", "mine", 2)
    assert await say(rig, "ann", "ann", HOW_MANY, "mine", 3) == "You have written 3 messages in this conversation."


async def test_two_people_in_one_room_never_meet(rig: House) -> None:
    """per_user, the default: canary texts of twelve people, interleaved, stay with their own (P7.6)."""
    people = [f"peer{number}" for number in range(12)]
    for turn in range(3):
        for person in people:
            rig.network.say("crowd", person, f"canary {person} {turn}", token="mine", context="group")
    await rig.hear("crowd", 36)

    for person in people:
        (mine,) = await sessions(rig, principal=f"chat:mine/{person}")
        said = " ".join(await export(rig, mine.id))
        assert all(f"canary {person} {turn}" in said for turn in range(3))
        assert not any(f"canary {other} " in said for other in people if other != person)
        assert mine.message_count == 6


async def test_one_person_in_two_rooms_has_two_conversations(rig: House) -> None:
    """The room is a part of the key."""
    await say(rig, "room-a", "bob", "one", "mine", 1)

    assert await say(rig, "room-b", "bob", HOW_MANY, "mine", 1) == "You have written 1 message in this conversation."


async def test_per_chat_shares_the_room(rig: House) -> None:
    """session_scope: per_chat: everybody in the room talks in one conversation (P2.8)."""
    await say(rig, "shared", "ann", "from ann", "ours", 1, "group")
    answer = await say(rig, "shared", "bob", HOW_MANY, "ours", 2, "group")

    assert answer == "You have written 2 messages in this conversation."
    (shared,) = await sessions(rig, channel="ours")
    assert (shared.principal, shared.peer) == ("chat:ours/room/shared", "")


async def test_queue_answers_one_after_the_other(rig: House) -> None:
    """busy_mode: queue, the default: one turn at a time, in order (P7.6)."""
    for number in range(3):
        rig.network.say("q", "ann", f"30ms answer {number} ends", token="queue")

    assert await rig.hear("q", 3) == [f"answer {number} ends" for number in range(3)]


async def test_interrupt_ends_the_running_answer(rig: House) -> None:
    """busy_mode: interrupt: the newer message is answered, the older one ends as silent, with the reason."""
    first = rig.network.say("i", "ann", "20s never finished", token="interrupt")
    await eventually(lambda: running(rig, "interrupt"))
    rig.network.say("i", "ann", "10ms the newer one", token="interrupt")

    assert await rig.hear("i") == ["the newer one"]
    story = await rig.story(first, "interrupt")
    assert state_of(story) == "silent"
    assert "newer message" in story.message.reason


async def test_interrupts_in_a_burst_leave_one_answer(rig: House) -> None:
    """Messages of one commit interrupt each other before their first step, too; the last is answered."""
    said = [rig.network.say("burst", "ann", f"50ms word {number}", token="interrupt") for number in range(20)]

    states = [state_of(await rig.story(each, "interrupt")) for each in said]

    assert states[-1] == "answered"
    assert set(states) == {"silent", "answered"}
    assert (await rig.hear("burst", states.count("answered")))[-1] == "word 19"


async def test_steer_answers_what_came_meanwhile_in_one_turn(rig: House) -> None:
    """busy_mode: steer: messages that wait are given to the turn that runs; each has its own end."""
    said = [rig.network.say("s", "ann", "400ms four words to say", token="steer")]
    await eventually(lambda: running(rig, "steer"))
    said += [rig.network.say("s", "ann", f"1ms more {number}", token="steer") for number in range(3)]

    states = [state_of(await rig.story(each, "steer")) for each in said]

    assert states == ["answered"] * 4
    heard = await rig.hear("s", 2)
    assert len(heard) == 2
    (session,) = await sessions(rig, channel="steer")
    assert await export(rig, session.id) == [
        "400ms four words to say",
        "four words to say",
        "1ms more 0",
        "1ms more 1",
        "1ms more 2",
        heard[1],
    ]


async def running(rig: House, channel: str) -> bool:
    return any(each.execution_id for each in await sessions(rig, channel=channel))


async def test_a_reset_begins_a_new_conversation(rig: House) -> None:
    """`sessions reset` ends it, and what runs in it; the next message starts afresh."""
    await say(rig, "reset", "ann", "before", "mine", 1)
    (session,) = [each for each in await sessions(rig, channel="mine") if each.chat == "reset"]

    code, out, err = await rig.daemon.ctl("sessions", "reset", session.id)

    assert code == 0, (out, err)
    assert await say(rig, "reset", "ann", HOW_MANY, "mine", 2) == "You have written 1 message in this conversation."
    ended = await rig.events("session_ended", session_id=session.id)
    assert [event.session_ended.reason for event in ended] == ["reset by local"]


async def test_an_export_has_everything_that_was_said(rig: House) -> None:
    """`sessions export` prints the whole conversation."""
    await say(rig, "export", "ann", "first words", "mine", 1)
    (session,) = [each for each in await sessions(rig, channel="mine") if each.chat == "export"]

    code, out, err = await rig.daemon.ctl("sessions", "export", session.id, "-o", "json")

    assert code == 0, (out, err)
    assert "first words" in out


async def test_an_erased_person_leaves_no_words_behind(rig: House) -> None:
    """`sessions erase` deletes what a person said from every table; ids and states stay (P11.1)."""
    await say(rig, "erase", "eve", "the canary of eve", "mine", 1)
    (session,) = await sessions(rig, principal="chat:mine/eve")
    message = (await rig.events("message", session_id=session.id))[0]

    request = session_service_pb2.EraseSessionRequest(peer=session_service_pb2.PeerRef(channel="mine", peer="eve"))
    answer = await rig.client.call("SessionService/EraseSession", request, session_service_pb2.EraseSessionResponse)

    assert (answer.sessions, answer.executions) == (1, 1)
    assert "canary" in message.message.content
    for event in await rig.events(session_id=session.id):
        assert b"canary" not in event.SerializeToString()
    assert not await sessions(rig, principal="chat:mine/eve")
    with pytest.raises(NotFound):
        await rig.client.send("memory", "still there?", session_id=session.id)


async def test_an_agent_with_all_its_conversations_tells_the_next_one(rig: House) -> None:
    """max_sessions_per_agent: a chat user is told, a program gets LIMIT_EXCEEDED, the others go on (P2.4)."""
    for number in range(40):
        rig.network.say(f"p{number}", f"p{number}", "room?", token="popular")
    for number in range(40):
        assert await rig.hear(f"p{number}") == ["room?"]

    refused = rig.network.say("p40", "p40", "room?", token="popular")
    (told,) = await rig.hear("p40")
    with pytest.raises(LimitExceeded) as error:
        await rig.client.send("popular", "room?")

    assert told == "Sorry, I cannot take on another conversation right now. Please try again later."
    assert state_of(await rig.story(refused, "popular")) == "failed_and_told"
    assert error.value.metadata["limit"] == "max_sessions_per_agent"
    assert error.value.retry_after
    assert await say(rig, "p0", "p0", "still here", "popular", 2) == "still here"


async def test_a_conversation_ends_when_it_was_idle_for_too_long(tmp_path: Path) -> None:
    """session_config.timeout, max_messages and max_bytes, in real time."""
    config = """
gateway: {heartbeat_interval: 1s, session_config: {timeout: 3s, max_messages: 4, max_bytes: 1KiB}}
agents: {memory: {model: offline/assistant}}
"""
    async with house(tmp_path, config) as rig:
        answers = [(await rig.client.send("memory", f"note {number}")).content for number in range(4)]
        # Four entries are two questions with their answers: the third question is as many as are ever known.
        assert [answer.split("message ")[1][0] for answer in answers] == ["1", "2", "3", "3"]
        (session,) = await sessions(rig)
        assert session.message_count == 4
        await rig.client.send("memory", "x" * 900)
        await rig.client.send("memory", "y" * 900)
        (session,) = await sessions(rig)
        assert session.history_bytes <= 1024

        idle_since = (await sessions(rig))[0].active_time.ToMilliseconds() / 1000
        async with rig.client.subscribe(event_filter(["heartbeat"])) as beats:
            while (await anext(beats)).time < idle_since + 3.1:
                pass
        fresh = await rig.client.send("memory", HOW_MANY)

    assert fresh.content == "You have written 1 message in this conversation."


@pytest.mark.parametrize("persist", ["true", "false"])
async def test_persist_decides_whether_a_restart_is_survived(tmp_path: Path, persist: str) -> None:
    """session_config.persist: true keeps the conversation, false forgets what was said."""
    config = f"""
gateway: {{session_config: {{persist: {persist}}}}}
agents: {{memory: {{model: offline/assistant}}}}
"""
    async with house(tmp_path, config) as rig:
        for number in range(2):
            await rig.client.send("memory", f"note {number}")
        before = await rig.client.send("memory", HOW_MANY)
        await rig.daemon.stop()
        await rig.daemon.start()
        after = await rig.client.send("memory", HOW_MANY, timeout=20)

    assert before.content == "You have written 3 messages in this conversation."
    expected = "4 messages" if persist == "true" else "1 message"
    assert after.content == f"You have written {expected} in this conversation."
