"""What of refusals and of uses is kept, and how much of it at most."""

import logging

import pytest
from access_rig import TOKEN

from gatewayd.access.sampling import MAX_SOURCES as MAX_SAMPLED
from gatewayd.core.errors import Unauthenticated


async def test_a_refusal_is_in_the_trail_and_never_the_token(rig, caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(Unauthenticated):
        rig.tcp("gw_node_" + "B" * 43, "203.0.113.5")
    record = rig.store.audit[-1]
    assert (record.action, record.decision, record.detail) == ("authenticate", "denied", "tcp 203.0.113.5")
    assert "B" * 43 not in str(rig.store.audit) + str([entry.__dict__ for entry in caplog.records])


async def test_a_store_that_cannot_take_the_trail_costs_only_the_record(rig):
    rig.store.busy = True
    with pytest.raises(Unauthenticated):
        rig.tcp("wrong")
    await rig.authenticator.revoke("node", by="local")


async def test_last_use_is_told(rig):
    await rig.clock.advance(5)
    rig.tcp(TOKEN)
    used = {info.id: info.last_used for info in rig.authenticator.clients()}
    assert used == {"default": 0.0, "node": rig.clock.now(), "other": 0.0}


async def test_a_bad_token_is_audited_once(rig):
    with pytest.raises(Unauthenticated):
        rig.tcp("wrong")
    (row,) = rig.store.audit
    assert (row.action, row.decision, row.detail) == ("authenticate", "denied", "tcp 192.0.2.1")


async def test_callers_without_a_token_are_audited_once_a_minute_with_a_count(rig):
    for source in ("192.0.2.1", "192.0.2.2"):
        for _ in range(500):
            with pytest.raises(Unauthenticated):
                rig.tcp(None, source)
    assert [row.detail for row in rig.store.audit] == ["tcp 192.0.2.1, no token", "tcp 192.0.2.2, no token"]
    await rig.clock.advance(59.0)
    assert len(rig.store.audit) == 2
    await rig.clock.advance(2.0)
    assert [row.detail for row in rig.store.audit[2:]] == [
        "tcp 192.0.2.1, no token, 499 times in the last minute",
        "tcp 192.0.2.2, no token, 499 times in the last minute",
    ]
    await rig.clock.advance(600.0)
    assert len(rig.store.audit) == 4


async def test_any_number_of_sources_without_a_token_has_a_bounded_table_and_trail(rig):
    for number in range(3 * MAX_SAMPLED):
        with pytest.raises(Unauthenticated):
            rig.tcp(None, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(rig.store.audit) == MAX_SAMPLED + 1
    assert rig.store.audit[-1].detail == "tcp others, no token"
    await rig.clock.advance(61.0)
    assert [row.detail for row in rig.store.audit[MAX_SAMPLED + 1 :]] == [
        f"tcp others, no token, {2 * MAX_SAMPLED - 1} times in the last minute"
    ]
