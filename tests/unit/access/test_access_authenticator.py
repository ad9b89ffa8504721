"""Who gets in: tokens, expiry, revocation, and a reload of the clients."""

from datetime import UTC, datetime

import pytest
from access_rig import OTHER, SECOND, TOKEN, Rig, client, config

from gatewayd.access.principals import LostProof
from gatewayd.access.scopes import EVERY_SCOPE
from gatewayd.access.tokens import digest_of
from gatewayd.core.errors import InvalidArgument, NotFound, StoreBusy, Unauthenticated


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
    assert rig.lost == [LostProof(frozenset({digest_of(TOKEN)}))]
    assert not rig.authenticator.valid(principal)
    with pytest.raises(Unauthenticated):
        rig.tcp(TOKEN)


async def test_a_wall_clock_that_jumps_over_the_expiry_is_noticed(rig):
    expires = datetime.fromtimestamp(rig.clock.now() + 10_000, UTC)
    await rig.apply(config(node=client(TOKEN, expires=expires)))
    rig.lost.clear()
    rig.clock.jump(20_000)
    await rig.clock.advance(1.0)
    assert rig.lost == [LostProof(frozenset({digest_of(TOKEN)}))]


async def test_revoking_a_client_holds_at_once_and_after_a_restart(rig):  # F61
    principal = rig.tcp(TOKEN)
    revoked = await rig.authenticator.revoke("node", by="local")
    assert set(revoked) == {digest_of(TOKEN), digest_of(SECOND)}
    assert rig.lost == [LostProof(frozenset(revoked))]
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
    rig.authenticator.on_lost(lambda lost: 1 / 0)
    rig.authenticator.on_lost(told.append)
    await rig.apply(config(node=client(TOKEN)))
    await rig.authenticator.revoke("node", by="local")
    assert told
    assert "proof_listener_failed" in caplog.text


async def test_a_reload_ends_the_streams_of_those_it_takes_something_from_and_of_no_others(rig):
    node, other = rig.tcp(TOKEN), rig.tcp(OTHER)
    await rig.apply(config(node=client(SECOND), other=client(OTHER, scopes=())))
    assert rig.lost == [LostProof(frozenset({digest_of(TOKEN)}))]
    assert not rig.authenticator.valid(node)
    assert rig.authenticator.valid(other)
    await rig.apply(config(node=client(SECOND), other=client(OTHER, scopes=("admin.read",))))
    assert rig.lost[1:] == [LostProof(frozenset({digest_of(OTHER)}), rescoped=True)]
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
