"""Who gets in: tokens, expiry, revocation, the limiter, and a reload of the clients."""

import asyncio
import logging
import string
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.access.audit import Audit
from gatewayd.access.authenticator import Authenticator
from gatewayd.access.limiter import FREE_FAILURES, MAX_SOURCES, FailureLimiter, source_key
from gatewayd.access.sampling import MAX_SOURCES as MAX_SAMPLED
from gatewayd.access.scopes import EVERY_SCOPE
from gatewayd.access.tokens import TOKEN_FILE, client_of, digest_of, mint, stored_token
from gatewayd.config.model import ClientSection, GatewayConfig, GatewaySection
from gatewayd.core.clock import SeededRandomness
from gatewayd.core.disk import SystemDisk
from gatewayd.core.errors import InvalidArgument, NotFound, StoreBusy, TooManyFailures, Unauthenticated
from gatewayd.core.secret import Secret
from gatewayd.testing.fakes import FakeClock


class MemoryStore:
    def __init__(self):
        self.audit = []
        self.revoked = {}
        self.busy = False

    def record_audit(self, record):
        if self.busy:
            raise StoreBusy("full")
        self.audit.append(record)
        return _Done()

    def revoke_token(self, token_sha256, time):
        self.revoked[token_sha256] = time
        return _Done()

    async def revoked_tokens(self):
        return frozenset(self.revoked)


class _Done:
    def __await__(self):
        return iter(())


class Rig:
    def __init__(self, folder, store=None):
        self.clock = FakeClock()
        self.store = store or MemoryStore()
        self.folder = Path(folder)
        self.secrets = []
        self.lost = []
        self.authenticator = Authenticator(
            clock=self.clock,
            randomness=SeededRandomness(7),
            disk=SystemDisk(),
            state=self.folder,
            store=self.store,
            audit=Audit(self.store, self.clock),
            on_secret=self.secrets.append,
        )
        self.authenticator.on_revoked(self.lost.append)

    async def apply(self, config):
        change = self.authenticator.plan(None, config)
        await change.prepare()
        change.commit()
        await change.retire()

    def tcp(self, token, source="192.0.2.1"):
        return self.authenticator.authenticate(token, "tcp", source)


TOKEN = mint("node", SeededRandomness(1)).reveal()
SECOND = mint("node", SeededRandomness(2)).reveal()
OTHER = mint("other", SeededRandomness(3)).reveal()


def config(auth_token="operator", **clients):
    return GatewayConfig(gateway=GatewaySection(auth_token=Secret(auth_token) if auth_token else None), clients=clients)


def client(*tokens, scopes=("agents.send:*",), expires=None):
    return ClientSection(token_sha256=tuple(map(digest_of, tokens)), scopes=scopes, expires=expires)


@pytest.fixture
async def rig(tmp_path):
    rig = Rig(tmp_path)
    await rig.apply(config(node=client(TOKEN, SECOND), other=client(OTHER, scopes=())))
    await rig.authenticator.start()
    yield rig
    await rig.authenticator.stop()


async def test_each_of_two_live_secrets_is_the_client(rig):
    for token in (TOKEN, SECOND):
        principal = rig.tcp(token)
        assert (principal.id, principal.local) == ("node", False)
        assert principal.scopes.texts() == ["agents.send:*"]
    assert rig.tcp(OTHER).scopes.texts() == []
    assert rig.tcp("operator").scopes == EVERY_SCOPE


async def test_the_unix_socket_without_a_token_is_local_and_with_one_that_client(rig):
    local = rig.authenticator.authenticate(None, "unix", "")
    assert (local.id, local.local, local.scopes) == ("local", True, EVERY_SCOPE)
    assert rig.authenticator.authenticate(TOKEN, "unix", "").id == "node"
    with pytest.raises(Unauthenticated):
        rig.authenticator.authenticate("wrong", "unix", "")


async def test_before_any_configuration_nobody_gets_in(tmp_path):  # I11
    rig = Rig(tmp_path)
    for token in (None, "", "operator", TOKEN, "0" * 64):
        with pytest.raises(Unauthenticated):
            rig.tcp(token)


BAD = [
    "",
    " ",
    "gw_",
    "gw_node_",
    "gw_nobody_" + "A" * 43,
    "gw_node_" + "A" * 43,
    TOKEN[:-1],
    TOKEN + "A",
    TOKEN.replace("gw_node", "gw_other"),
    OTHER.replace("gw_other", "gw_node"),
    digest_of(TOKEN),
    "Operator",
    "operator" + "x" * 5000,
    "\udcff\x00é",
]


@pytest.mark.parametrize("token", [*BAD, None])
async def test_nothing_else_gets_in_and_every_refusal_reads_alike(rig, token):  # F59
    with pytest.raises(Unauthenticated) as caught:
        rig.tcp(token)
    if token is not None:
        assert caught.value.message == "the token is not valid"
        assert caught.value.metadata == {}


async def test_an_expired_token_is_refused_and_its_stream_told_within_a_second(rig):  # F59
    end = rig.clock.now() + 100
    await rig.apply(config(node=client(TOKEN, expires=datetime.fromtimestamp(end, UTC)), other=client(OTHER)))
    rig.lost.clear()
    principal = rig.tcp(TOKEN)
    assert principal.expires == end
    await rig.clock.advance(99.0)
    assert rig.lost == []
    assert rig.authenticator.valid(principal)
    await rig.clock.advance(2.0)
    assert rig.lost == [frozenset({digest_of(TOKEN)})]
    assert not rig.authenticator.valid(principal)
    with pytest.raises(Unauthenticated):
        rig.tcp(TOKEN)


async def test_a_wall_clock_that_jumps_over_the_expiry_is_noticed(rig):
    expires = datetime.fromtimestamp(rig.clock.now() + 10_000, UTC)
    await rig.apply(config(node=client(TOKEN, expires=expires)))
    rig.lost.clear()
    rig.clock.jump(20_000)
    await rig.clock.advance(1.0)
    assert rig.lost == [frozenset({digest_of(TOKEN)})]


async def test_revoking_a_client_holds_at_once_and_after_a_restart(rig):  # F61
    principal = rig.tcp(TOKEN)
    revoked = await rig.authenticator.revoke("node", by="local")
    assert set(revoked) == {digest_of(TOKEN), digest_of(SECOND)}
    assert rig.lost == [frozenset(revoked)]
    assert not rig.authenticator.valid(principal)
    for token in (TOKEN, SECOND):
        with pytest.raises(Unauthenticated):
            rig.tcp(token)
    assert rig.tcp(OTHER).id == "other"
    assert [info.revoked for info in rig.authenticator.clients()] == [False, True, False]
    again = Rig(rig.folder, rig.store)
    await again.authenticator.start()
    await again.apply(config(node=client(TOKEN, SECOND)))
    with pytest.raises(Unauthenticated):
        again.tcp(TOKEN)
    await again.authenticator.stop()


async def test_one_of_two_secrets_can_be_revoked(rig):
    await rig.authenticator.revoke(digest_of(TOKEN), by="local")
    with pytest.raises(Unauthenticated):
        rig.tcp(TOKEN)
    assert rig.tcp(SECOND).id == "node"


async def test_revoking_what_nobody_has(rig):
    with pytest.raises(NotFound):
        await rig.authenticator.revoke("nobody", by="local")
    assert await rig.authenticator.revoke("f" * 64, by="local") == ("f" * 64,)
    assert rig.tcp(TOKEN).id == "node"


async def test_a_revocation_that_cannot_be_kept_still_holds(rig):
    async def refuse(token_sha256, time):
        raise StoreBusy("full")

    rig.store.revoke_token = refuse
    with pytest.raises(StoreBusy):
        await rig.authenticator.revoke("node", by="local")
    with pytest.raises(Unauthenticated):
        rig.tcp(TOKEN)


async def test_a_listener_that_fails_does_not_spare_the_others(tmp_path, caplog):
    rig = Rig(tmp_path)
    told = []
    rig.authenticator.on_revoked(lambda digests: 1 / 0)
    rig.authenticator.on_revoked(told.append)
    await rig.apply(config(node=client(TOKEN)))
    await rig.authenticator.revoke("node", by="local")
    assert told
    assert "revocation_listener_failed" in caplog.text


async def test_a_reload_ends_the_streams_of_those_it_takes_something_from_and_of_no_others(rig):
    node, other = rig.tcp(TOKEN), rig.tcp(OTHER)
    await rig.apply(config(node=client(SECOND), other=client(OTHER, scopes=())))
    assert rig.lost == [frozenset({digest_of(TOKEN)})]
    assert not rig.authenticator.valid(node)
    assert rig.authenticator.valid(other)
    await rig.apply(config(node=client(SECOND), other=client(OTHER, scopes=("admin.read",))))
    assert rig.lost[1:] == [frozenset({digest_of(OTHER)})]
    assert not rig.authenticator.valid(other)
    assert rig.tcp(OTHER).scopes.texts() == ["admin.read"]


async def test_an_abandoned_or_failed_reload_changes_nothing(rig):
    change = rig.authenticator.plan(None, config(node=client(SECOND)))
    await change.prepare()
    await change.abandon()
    change.commit()
    bad = rig.authenticator.plan(None, config(node=client(SECOND, scopes=("nonsense",))))
    with pytest.raises(InvalidArgument):
        await bad.prepare()
    await bad.abandon()
    assert rig.tcp(TOKEN).id == "node"
    assert rig.lost == []


# The generated token


async def test_a_token_is_generated_once_kept_private_and_never_logged(tmp_path, caplog):  # I18
    caplog.set_level(logging.DEBUG)
    rig = Rig(tmp_path)
    await rig.apply(config(auth_token=None))
    text = (tmp_path / TOKEN_FILE).read_text().strip()
    assert (tmp_path / TOKEN_FILE).stat().st_mode & 0o777 == 0o600
    assert client_of(text) == "default"
    assert rig.tcp(text).id == "default"
    assert rig.secrets == [Secret(text)]
    logged = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    assert text not in logged
    assert text[11:] not in logged
    assert Secret(text).fingerprint in logged
    again = Rig(tmp_path)
    await again.apply(config(auth_token=None))
    assert again.tcp(text).id == "default"


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe", b"gw_node_" + b"A" * 43])
def test_a_token_file_with_anything_else_in_it_is_replaced(tmp_path, content):
    (tmp_path / TOKEN_FILE).write_bytes(content)
    token, made = stored_token(SystemDisk(), tmp_path, SeededRandomness(1), frozenset())
    assert made
    assert (tmp_path / TOKEN_FILE).read_text().strip() == token.reveal()


def test_a_token_file_that_others_can_read_is_closed(tmp_path):
    token, _ = stored_token(SystemDisk(), tmp_path, SeededRandomness(1), frozenset())
    (tmp_path / TOKEN_FILE).chmod(0o644)
    again, made = stored_token(SystemDisk(), tmp_path, SeededRandomness(2), frozenset())
    assert (again, made) == (token, False)
    assert (tmp_path / TOKEN_FILE).stat().st_mode & 0o777 == 0o600


def test_a_revoked_generated_token_is_replaced_at_the_next_start(tmp_path):
    token, _ = stored_token(SystemDisk(), tmp_path, SeededRandomness(1), frozenset())
    fresh, made = stored_token(SystemDisk(), tmp_path, SeededRandomness(2), frozenset({digest_of(token.reveal())}))
    assert made
    assert fresh != token


CLIENT_ID = st.text(string.ascii_letters + string.digits + "_-.", min_size=1, max_size=64)


@given(CLIENT_ID, st.integers(0, 1000))
def test_a_minted_token_tells_its_client_whatever_the_id(client_id, seed):
    token = mint(client_id, SeededRandomness(seed)).reveal()
    assert client_of(token) == client_id
    assert len(token) == len(f"gw_{client_id}_") + 43


@pytest.mark.parametrize("client_id", ["", "a b", "é", "a" * 65, "a\n"])
def test_an_id_that_cannot_be_in_a_token_is_refused(client_id):
    with pytest.raises(InvalidArgument):
        mint(client_id, SeededRandomness(1))


# The limiter


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


# The trail


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


# The audit of failures


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
