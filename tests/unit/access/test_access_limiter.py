"""Who guesses tokens is locked out, and nobody else is."""

import asyncio

import pytest
from access_rig import OTHER, TOKEN, Rig, client, config
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.access.limiter import FREE_FAILURES, MAX_SOURCES, FailureLimiter, source_key
from gatewayd.core.errors import TooManyFailures, Unauthenticated
from gatewayd.testing.fakes import FakeClock


@pytest.mark.parametrize("source", ["127.0.0.1", "::1", "192.0.2.1", "2001:db8::1", "not an address"])
async def test_who_guesses_is_locked_out_with_a_growing_lock_loopback_too(rig, source):  # I2
    for _ in range(FREE_FAILURES):
        with pytest.raises(Unauthenticated):
            rig.tcp("wrong", source)
    locks = []
    for _ in range(4):
        with pytest.raises(Unauthenticated):
            rig.tcp("wrong", source)
        with pytest.raises(TooManyFailures) as caught:
            rig.tcp(TOKEN, source)
        locks.append(caught.value.retry_after)
        await rig.clock.advance(caught.value.retry_after)
    assert locks == [1.0, 2.0, 4.0, 8.0]
    assert rig.tcp(TOKEN, source).id == "node", "after the lock the right token works"
    assert rig.tcp(TOKEN, "198.51.100.9").id == "node"


@given(st.lists(st.sampled_from(["wrong", TOKEN, OTHER, "", None, "operator", "gw_x_" + "A" * 43]), max_size=60))
def test_no_combination_of_credentials_gets_around_the_limiter(tmp_path_factory, tokens):  # I3
    async def run():
        rig = Rig(tmp_path_factory.mktemp("state"))
        await rig.apply(config(node=client(TOKEN), other=client(OTHER)))
        failures = 0
        for token in tokens:
            try:
                rig.tcp(token)
                assert token in (TOKEN, OTHER, "operator")
                assert failures <= FREE_FAILURES
            except TooManyFailures:
                assert failures > FREE_FAILURES
            except Unauthenticated:
                assert token is None or failures <= FREE_FAILURES
                failures += token is not None
        assert failures <= FREE_FAILURES + 1

    asyncio.run(run())


async def test_the_unix_socket_is_not_locked_out_by_the_network(rig):
    for number in range(101):
        with pytest.raises(Unauthenticated):
            rig.tcp("wrong", f"10.0.0.{number}")
    with pytest.raises(TooManyFailures):
        rig.tcp(TOKEN, "198.51.100.9")
    assert rig.authenticator.authenticate(TOKEN, "unix", "").id == "node"
    assert rig.authenticator.authenticate(None, "unix", "").id == "local"


def test_many_guesses_from_many_addresses_are_looked_at_seldom_and_kept_in_bounds():
    clock = FakeClock()
    limiter = FailureLimiter(clock)
    looked_at = 0
    for number in range(100_000):
        source = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        try:
            limiter.check(source)
        except TooManyFailures:
            continue
        looked_at += 1
        limiter.failed(source)
    assert looked_at <= 101
    assert limiter.refused == 100_000 - looked_at
    assert len(limiter._sources) <= MAX_SOURCES


async def test_time_forgives():
    clock = FakeClock()
    limiter = FailureLimiter(clock)
    for _ in range(FREE_FAILURES):
        limiter.failed("a")
    await clock.advance(FREE_FAILURES * 60.0)
    assert not limiter.failed("a")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_what_counts_as_one_source(one, other, same):
    assert (source_key(one) == source_key(other)) is same
