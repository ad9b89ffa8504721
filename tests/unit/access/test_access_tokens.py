"""Tokens: the one that is generated, and those that are minted for clients."""

import logging
import string

import pytest
from access_rig import Rig, config
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.access.tokens import TOKEN_FILE, client_of, digest_of, mint, stored_token
from gatewayd.core.clock import SeededRandomness
from gatewayd.core.disk import SystemDisk
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.secret import Secret


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
