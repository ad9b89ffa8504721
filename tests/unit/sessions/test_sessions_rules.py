"""Sessions by a clock that the test moves: keys, resets, expiry, limits, and what is remembered."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gatewayd.config.checking import read
from gatewayd.config.model import ChannelSection
from gatewayd.core.errors import IdConflict, LimitExceeded, NotFound
from gatewayd.core.message import ChatContext
from gatewayd.core.work import LedgerState
from gatewayd.sessions import chat_key, chat_principal, client_key, subject_of
from gatewayd.storage.records import Acceptance, HistoryEntry, SessionRecord
from gatewayd.testing.fakes import EPOCH, FakeClock
from tests.rigs.middle import Middle, message

HOUR = 3600.0


@pytest.fixture
async def middle(tmp_path: Path) -> AsyncIterator[Middle]:
    async with Middle(tmp_path) as middle:
        yield middle


def clock_of(middle: Middle) -> FakeClock:
    assert isinstance(middle.clock, FakeClock)
    return middle.clock


def section(**more: Any) -> ChannelSection:
    return read(ChannelSection, {"platform": "sim", "routing": {"default": "a"}} | more)


async def opened(
    middle: Middle, policy: ChannelSection | None = None, key: str = "k", agent: str = "a"
) -> SessionRecord:
    """Open, and write it as the router does."""
    result = await middle.sessions.open(key, principal="p", agent=agent, channel="", rule="", policy=policy)
    await write(middle, result.record)
    return result.record


async def write(middle: Middle, record: SessionRecord) -> None:
    """The smallest message that makes a session real."""
    accepted = message("x", int(clock_of(middle).now() * 1000) % 1_000_000_000)
    inbound = middle.router._intake.from_chat(accepted, "p")
    await middle.store.accept(Acceptance(inbound, "s", "", b"", record, None, LedgerState.SILENT, ()))


def test_keys_cannot_pretend_to_be_others() -> None:
    """Whatever the ids are made of, different conversations have different keys (P7.6)."""
    alone = section()
    odd = ['a"', "b,c", '","', "a\\", "", "a", "b", '["chat"]']
    keys = {
        chat_key(alone, message("x", chat=chat, peer=peer, thread=thread))
        for chat in odd
        for peer in odd
        for thread in odd
    }
    assert len(keys) == len(odd) ** 3
    clients = {client_key(who, client, agent) for who in odd for client in odd for agent in odd}
    assert len(clients) == len(odd) ** 3
    assert not keys & clients
    assert client_key("p", "c", "x") != client_key("p", "c", "a", "x")


def test_a_room_shares_a_conversation_only_where_that_is_said() -> None:
    """session_scope: per_user and per_chat, and whose the conversation is."""
    ann, bob = message("x", peer="ann"), message("x", peer="bob")
    alone, shared = section(), section(session_scope="per_chat")

    assert chat_key(alone, ann) != chat_key(alone, bob)
    assert chat_key(shared, ann) == chat_key(shared, bob)
    assert chat_principal(alone, ann) == "chat:chat/ann"
    assert chat_principal(shared, ann) == chat_principal(shared, bob) == "chat:chat/room/room"
    assert subject_of(chat_key(alone, ann)).peer == "ann"
    assert subject_of(client_key("p", "c1", "a")).client_id == "c1"


async def test_first_messages_at_once_open_one_session(middle: Middle) -> None:
    """Two first messages of one key get one session."""
    records = await asyncio.gather(*(opened(middle) for _ in range(5)))

    assert len({record.id for record in records}) == 1
    assert middle.sessions.active_count == 1


async def test_idle_longer_than_the_timeout_begins_anew(middle: Middle) -> None:
    """gateway.session_config.timeout holds for every conversation."""
    middle.use({"gateway": {"session_config": {"timeout": "1h"}}})
    first = await opened(middle)
    await clock_of(middle).advance(HOUR)
    same = await opened(middle)
    await clock_of(middle).advance(HOUR + 1)
    fresh = await opened(middle)

    assert same.id == first.id != fresh.id
    ended = await middle.store.get_session(first.id)
    assert ended is not None
    assert ended.end_reason == "idle: gateway.session_config.timeout"


async def test_reset_idle_has_minutes_of_its_own(middle: Middle) -> None:
    """channels.<name>.session: {reset: idle, idle_minutes}."""
    policy = section(session={"reset": "idle", "idle_minutes": 5})
    first = await opened(middle, policy)
    await clock_of(middle).advance(5 * 60)
    same = await opened(middle, policy)
    await clock_of(middle).advance(5 * 60 + 1)
    fresh = await opened(middle, policy)

    assert same.id == first.id != fresh.id


async def test_reset_none_keeps_it(middle: Middle) -> None:
    """reset: none, the default; idle_minutes means nothing then."""
    middle.use({"gateway": {"session_config": {"timeout": "365d"}}})
    policy = section(session={"reset": "none", "idle_minutes": 1, "at_hour": 9})
    first = await opened(middle, policy)
    await clock_of(middle).advance(40 * HOUR)

    assert (await opened(middle, policy)).id == first.id


async def test_reset_daily_is_at_its_hour(middle: Middle) -> None:
    """reset: daily, at_hour in UTC: with the first message after it, not before (the clock starts at 08:00)."""
    middle.use({"gateway": {"session_config": {"timeout": "365d"}}})
    policy = section(session={"reset": "daily", "at_hour": 9})
    assert EPOCH % (24 * HOUR) == 8 * HOUR
    before = await opened(middle, policy)
    await clock_of(middle).advance(HOUR - 1)
    same = await opened(middle, policy)
    await clock_of(middle).advance(2)
    fresh = await opened(middle, policy)
    await clock_of(middle).advance(23 * HOUR)
    kept = await opened(middle, policy)
    await clock_of(middle).advance(HOUR)
    next_day = await opened(middle, policy)

    assert before.id == same.id
    assert len({before.id, fresh.id, next_day.id}) == 3
    assert kept.id == fresh.id


async def test_expiry_ends_what_is_idle_and_leaves_what_works(middle: Middle) -> None:
    """A running execution keeps its session alive (P7.6)."""
    middle.use({"gateway": {"session_config": {"timeout": "1h"}}})
    await opened(middle)
    working = await middle.send("a long question")
    await clock_of(middle).advance(HOUR + 1)

    assert await middle.sessions.expire() == 1

    assert middle.sessions.active_count == 1
    middle.agents["a"].may_end.set()
    assert (await working.live.done).output


async def test_one_session_more_than_allowed_is_refused_and_an_end_makes_room(middle: Middle) -> None:
    """max_sessions_per_agent, per agent; counted again after a restart."""
    middle.use({"gateway": {"max_sessions_per_agent": 2}})
    first = await opened(middle, key="1")
    await opened(middle, key="2")

    with pytest.raises(LimitExceeded) as refused:
        await opened(middle, key="3")
    await opened(middle, key="3", agent="b")
    await opened(middle, key="1")

    assert refused.value.metadata["limit"] == "max_sessions_per_agent"
    await middle.sessions.start()
    assert middle.sessions.per_agent() == {"a": 2, "b": 1}
    assert await middle.sessions.reset(first.id, "enough")
    await opened(middle, key="4")


async def test_another_agent_takes_the_session_with_it(middle: Middle) -> None:
    """The agent is an attribute of a chat's session, not part of its key."""
    first = await opened(middle)
    moved = await opened(middle, agent="b")

    assert moved.id == first.id
    assert middle.sessions.per_agent() == {"b": 1}


async def test_a_message_that_was_not_taken_in_leaves_no_session(middle: Middle) -> None:
    """A repeat after a reset, or a conflict, opens nothing."""
    middle.use({"channels": {"chat": {"platform": "sim", "routing": {"dm": "a"}}}})
    middle.agents["a"].may_end.set()
    await middle.router.accept_chat(message("hello"))
    await middle.runtime.idle()
    (session,) = await middle.store.list_sessions(
        principal="", agent="", channel="", include_ended=False, before="", limit=10
    )
    await middle.sessions.reset(session.id, "test")
    await middle.router.accept_chat(message("hello"))
    assert middle.sessions.active_count == 0

    await middle.send("one", idempotency_key="k")
    count = middle.sessions.active_count
    with pytest.raises(IdConflict):
        await middle.send("other", agent="b", idempotency_key="k")
    assert middle.sessions.active_count == count


async def test_a_session_is_resumed_only_by_those_who_may_see_it(middle: Middle) -> None:
    """For the others it does not exist; an ended one does not for anybody."""
    record = await opened(middle)

    assert (await middle.sessions.resume(record.id, lambda owner: owner == "p")).record.id == record.id
    with pytest.raises(NotFound):
        await middle.sessions.resume(record.id, lambda _owner: False)
    await middle.sessions.reset(record.id, "test")
    with pytest.raises(NotFound):
        await middle.sessions.resume(record.id, lambda _owner: True)


async def test_history_keeps_to_its_bounds_in_memory_as_on_disk(middle: Middle) -> None:
    """max_messages and max_bytes; 0 messages leaves the bytes."""
    for bounds, expected in (
        ({"max_messages": 3}, 3),
        ({"max_messages": 0, "max_bytes": "1KiB"}, 10),
    ):
        middle.use({"gateway": {"session_config": bounds}})
        record = await opened(middle, key=str(bounds))
        await middle.sessions.history(record.id)
        for number in range(20):
            middle.sessions.extend(record.id, [HistoryEntry("user", f"{number:0100}", 0.0)])
        kept = await middle.sessions.history(record.id)

        assert [int(entry.content) for entry in kept] == list(range(20 - expected, 20))


async def test_without_persist_memory_is_all_there_is(middle: Middle) -> None:
    """persist: false: what is observed or said is known while the daemon runs, and never written."""
    middle.use(
        {
            "gateway": {"session_config": {"persist": False}},
            "channels": {"chat": {"platform": "sim", "routing": {"dm": "a", "group": "a"}, "group_policy": "observe"}},
        }
    )
    for number in range(3):
        seen = message(f"seen {number}", number, context=ChatContext.GROUP)
        await middle.router.accept_chat(seen)
    story = await middle.store.story("p1")
    assert story is not None
    middle.agents["a"].may_end.set()
    submitted = await middle.send("now", session_id=story.session_id)
    await submitted.live.done

    assert [entry.content for entry in middle.agents["a"].turns[0].history] == ["seen 0", "seen 1", "seen 2"]
    assert await middle.store.history(story.session_id, 0, 0) == []


async def test_an_observed_room_is_bounded_on_disk_too(middle: Middle) -> None:
    """What nobody answers counts towards the bounds like everything else."""
    middle.use(
        {
            "gateway": {"session_config": {"max_messages": 5}},
            "channels": {"chat": {"platform": "sim", "routing": {"group": "a"}, "group_policy": "observe"}},
        }
    )
    for number in range(12):
        await middle.router.accept_chat(message(f"seen {number}", number, context=ChatContext.GROUP))
    story = await middle.store.story("p1")
    assert story is not None

    kept = await middle.store.history(story.session_id, 0, 0)

    assert [entry.content for entry in kept] == [f"seen {number}" for number in range(7, 12)]
    assert [entry.content for entry in await middle.sessions.history(story.session_id)] == [
        f"seen {number}" for number in range(7, 12)
    ]
