"""F35: a damaged database gives its whole content or a refusal, never anything else.

`GATEWAYD_MUTATIONS` sets how many damaged copies are tried (default 300), `GATEWAYD_SEED` which.
"""

import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gatewayd.core.errors import StoreCorrupt
from gatewayd.core.push import Peer
from gatewayd.core.state import EVERYWHERE, Place, StateLimits, StateScope
from gatewayd.storage.base import Store
from gatewayd.storage.push import MemberRecord, PushedMessage, Recipient, TopicRecord
from gatewayd.storage.records import AuditRecord
from gatewayd.storage.sqlite.seal import reseal, seal_batch, seal_bytes, seal_event
from gatewayd.storage.state import StateWrite
from gatewayd.testing.store_cases.samples import (
    ALL,
    NOW,
    acceptance,
    answered,
    died,
    event,
    finish,
    letter,
    published,
    session,
    turn,
)
from gatewayd.testing.store_cases.sqlite import SQLiteHarness

PAGE = 4096
PEER = Peer("ann", "laptop")


async def _fill(store: Store) -> None:
    """Something in every table, in every state."""
    await store.append(published(*(f"e{n}" for n in range(40)), topic="a.b", owner="ann"), scope="ann")
    for number in range(1, 8):
        await answered(store, number, pieces=2)
    await store.accept(acceptance(8, record=session("s2", "k2"), events=(event("mine", session_id="s2"),)))
    await store.finish(replace(finish(8, turn=turn(8, size=3000)), session_id="s2", history_max_messages=0))
    await store.mark_sending(["o0008-0"])
    await store.accept(acceptance(9, record=session("s2", "k2")))
    await store.start("x0009", NOW + 3, ())
    await store.accept(acceptance(10, record=session("s3", "k3")))
    await store.finish(finish(10))
    await store.mark_sending(["o0010-0"])
    await store.mark_dead("o0010-0", letter("d1", 10), died(10))
    await store.end_session("s3", "idle", NOW, ())
    for number in range(5):
        await store.record_audit(AuditRecord(NOW, "ann", "Reload", "gateway.yaml", "allow", f"{number}"))
    await store.revoke_token("ab" * 32, NOW)
    for number in range(4):
        await store.add_topic(TopicRecord(f"t{number}", "ann", '{"n": 1}', NOW))
        await store.keep_member(MemberRecord(f"t{number}", PEER, NOW, NOW))
        message = PushedMessage(f"p{number}", "t1", f"pushed {number}".encode() * 20, NOW, NOW + 100)
        await store.keep_push(message, [Recipient(PEER, number)], [Peer("bob", "phone")])
    for place in (EVERYWHERE, Place(StateScope.STREAM, "helper")):
        writes = [
            StateWrite(place, f"k{number}", f'"held {number}"', event(f"{place.scope}-{number}"), expires=NOW + number)
            for number in range(20)
        ]
        await store.write_state(writes, writer="ann", now=NOW, limits=StateLimits())


async def _content(store: Store) -> list[object]:
    """All that can be read."""
    everything: dict[str, int | str] = {"before": "", "limit": 1000}
    executions = await store.list_executions(states=(), session_id="", agent="", before="", limit=1000)
    messages = await store.list_messages(states=(), channel="", session_id="", before="", limit=1000)
    sessions = await store.list_sessions(principal="", agent="", channel="", include_ended=True, before="", limit=1000)
    return [
        everything,
        store.log,
        await store.list_state(EVERYWHERE, "", 1000),
        await store.list_state(Place(StateScope.STREAM, "helper"), "", 1000),
        await store.read_state([(EVERYWHERE, f"k{number}") for number in range(20)]),
        await store.expired_state(NOW + 10, 1000),
        [(found, found.wire) for found in (await store.read_forward(0, ALL, 1000)).events],
        [(found, found.wire) for found in (await store.read_backward(0, ALL, 1000)).events],
        executions,
        [await store.get_execution(execution.id) for execution in executions],
        await store.unfinished(),
        messages,
        [await store.story(message.message_id) for message in messages],
        await store.story("sent-3-1"),
        await store.story("tg-4"),
        sessions,
        [await store.history(record.id, 0, 0) for record in sessions],
        await store.active_session("k2"),
        await store.count_active_sessions(),
        await store.idle_sessions(NOW + 1_000_000, 1000),
        await store.pending_outbox("tg"),
        await store.list_dead_letters(channel="", before="", limit=1000),
        await store.list_audit(limit=1000),
        await store.revoked_tokens(),
        await store.list_topics("", 1000),
        await store.list_members(("", "", ""), 1000),
        await store.list_pending(PEER, "", 1000),
        await store.count_pending(),
        await store.list_topic_letters(topic="", principal="", before=0, limit=1000),
    ]


def _damage(original: bytes, chance: random.Random) -> bytes:
    content = bytearray(original)
    used = [place for place, byte in enumerate(original) if byte]
    kind = chance.randrange(10)
    if kind < 5:
        for _ in range(chance.choice((1, 1, 1, 2, 8))):
            place = chance.choice(used) if chance.random() < 0.9 else chance.randrange(len(content))
            content[place] ^= 1 << chance.randrange(8)
    elif kind == 5:
        place = chance.choice(used)
        content[place] = chance.randrange(256)
    elif kind == 6:
        del content[chance.randrange(len(content)) :]
    elif kind == 7:
        place, length = chance.choice(used), chance.randrange(1, 600)
        content[place : place + length] = bytes(len(content[place : place + length]))
    else:
        one, other = (PAGE * chance.randrange(len(content) // PAGE) for _ in range(2))
        content[one : one + PAGE], content[other : other + PAGE] = (
            content[other : other + PAGE],
            content[one : one + PAGE],
        )
    return bytes(content)


async def _outcome(path: Path) -> list[object] | None:
    """The content, or None where it is refused."""
    harness = SQLiteHarness(path)
    try:
        await harness.store.open()
        return await _content(harness.store)
    except StoreCorrupt:
        return None
    finally:
        await harness.store.close()


async def _try(tmp_path: Path, count: int, seed: int) -> tuple[int, int]:
    harness = SQLiteHarness(tmp_path / "state" / "gateway.db")
    await harness.store.open()
    await _fill(harness.store)
    expected = await _content(harness.store)
    await harness.store.close()
    original = harness.path.read_bytes()
    assert await _outcome(harness.path) == expected
    refused = 0
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        damaged = _damage(original, chance)
        for leftover in harness.path.parent.iterdir():
            leftover.unlink()
        harness.path.write_bytes(damaged)
        harness.path.chmod(0o600)
        try:
            outcome = await _outcome(harness.path)
        except BaseException as error:
            raise AssertionError(f"mutation {number} of seed {seed} gave {error!r}") from error
        assert outcome in (None, expected), f"mutation {number} of seed {seed} was believed"
        if outcome is None:
            refused += 1
            assert harness.path.read_bytes() == damaged, f"mutation {number} of seed {seed}: the file was changed"
    return refused, count


@pytest.mark.timeout(900)
async def test_F35_a_damaged_file_gives_its_content_or_a_refusal(tmp_path: Path) -> None:
    count, seed = int(os.environ.get("GATEWAYD_MUTATIONS", "300")), int(os.environ.get("GATEWAYD_SEED", "1"))
    refused, tried = await _try(tmp_path, count, seed)
    assert refused > tried / 2


@pytest.mark.parametrize("content", ["text", 7, None])
def test_bytes_that_became_something_else_fit_no_seal(content: Any) -> None:
    """A flipped bit may change the kind of a value, too; that is damage like any other, and no defect."""
    assert seal_bytes(content, 0) == seal_event(1, "ann", 1.0, content) == seal_batch("s", "i", content, "r", 1.0) == -1
    assert reseal("s", "i", content, "r", 1.0, 7, "i", "r") != -1  # so that the batch it is moved to does not fit
