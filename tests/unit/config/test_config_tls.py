"""Certificates in the configuration: where they may come from, what has to fit, and what they allow."""

import os
import ssl
import stat
import time
from pathlib import Path

import pytest
from config_rig import lines, loaded
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gatewayd.config.canonical import render
from gatewayd.config.diff import diff
from gatewayd.config.loader import Loaded
from gatewayd.config.problems import ConfigRefused
from gatewayd.daemon.certificates import judged
from gatewayd.http.tls import context_of
from tests.rigs.certificates import Authority, Key

AGENTS = "\nagents:\n  a: {model: offline/echo}\n"
BOTH = "ssl_cert: s.pem, ssl_key: s.key"


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    ours = Authority("ours")
    found = {"ca.pem": ours.pem, "none.pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}
    for name, days in (("s", 30.0), ("soon", 5.5), ("ended", -1.0), ("other", 30.0)):
        found[f"{name}.pem"], found[f"{name}.key"] = ours.issue(name, days)
    return found


def given(files: dict[str, bytes], mode: int = 0o640) -> dict[str, object]:
    return {
        "read_file": lambda path, limit: files[path.name][:limit],
        "stat_file": lambda path: os.stat_result((stat.S_IFREG | mode, 0, 0, 1, 0, 0, 1, 0, 0, 0)),
    }


@pytest.mark.parametrize("host", ["0.0.0.0", "'::'", "192.168.1.5", "'::ffff:10.0.0.1'"])
def test_beyond_loopback_it_takes_tls(files: dict[str, bytes], host: str) -> None:
    """For both listeners; a name is no address, with TLS or without."""
    http = f"http: {{host: {host}, websocket: true}}"
    (one,) = lines(f"gateway: {{host: {host}}}{AGENTS}", **given(files))
    (two,) = lines(f"gateway: {{{http}}}{AGENTS}", **given(files))
    assert "gateway.host: " in one
    assert "gateway.http.host: " in two
    assert "there is no TLS" in one
    assert lines(f"gateway: {{host: {host}, {http}, {BOTH}}}{AGENTS}", **given(files)) == []
    (named,) = lines(f"gateway: {{host: gateway.example.com, {BOTH}}}{AGENTS}", **given(files))
    assert "is not an address" in named


@pytest.mark.parametrize(
    ("keys", "path", "why"),
    [
        ("ssl_cert: s.pem", "ssl_cert", "ssl_key is missing"),
        ("ssl_key: s.key", "ssl_key", "ssl_cert is missing"),
        ("ssl_client_ca: ca.pem", "ssl_client_ca", "without TLS nobody is asked"),
        ("ssl_cert: s.pem, ssl_key: other.key", "ssl_key", "not the key of ssl_cert"),
        ("ssl_cert: s.key, ssl_key: s.key", "ssl_cert", "no certificate that can be read"),
        ("ssl_cert: s.pem, ssl_key: s.pem", "ssl_key", "no private key that can be read"),
        (f"{BOTH}, ssl_client_ca: none.pem", "ssl_client_ca", "no certificate that can be read"),
        ("ssl_cert: '~/s.pem', ssl_key: s.key", "ssl_cert", "'~' is not replaced"),
        ("ssl_cert: 7, ssl_key: s.key", "ssl_cert", "the path of a file in PEM"),
        ("ssl_cert: '${NOWHERE}', ssl_key: s.key", "ssl_cert", "${NOWHERE} is unset"),
    ],
)
def test_what_does_not_fit_is_told_at_its_key(files: dict[str, bytes], keys: str, path: str, why: str) -> None:
    (found,) = lines(f"gateway: {{{keys}}}{AGENTS}", **given(files))

    assert f" gateway.{path}: " in found
    assert why in found


@pytest.mark.parametrize(
    ("key", "fits"),
    [
        (ec.generate_private_key(ec.SECP384R1()), True),
        (rsa.generate_private_key(65537, 2048), True),
        (rsa.generate_private_key(65537, 1024), False),
        (ec.generate_private_key(ec.SECP521R1()), False),
        (ec.generate_private_key(ec.SECP256K1()), False),
        (ed25519.Ed25519PrivateKey.generate(), False),
    ],
)
def test_a_key_that_not_every_client_speaks_with_is_refused(key: Key, *, fits: bool) -> None:
    """Of some, the listener of HTTP would make nothing; with others, no client made with gRPC would speak."""
    cert, secret = Authority("ours").issue("s", key=key)
    found = lines(f"gateway: {{{BOTH}}}{AGENTS}", **given({"s.pem": cert, "s.key": secret}))
    assert [("gateway.ssl_key: " in line, "not every client takes" in line) for line in found] == [(True, True)] * (
        not fits
    )


@pytest.mark.parametrize("rest", [200, 28])
def test_a_file_that_was_read_half_written_is_refused(files: dict[str, bytes], rest: int) -> None:
    """The certificate itself is whole, one behind it is not; the same of authorities."""
    half = {**files, "s.pem": files["s.pem"] + files["ca.pem"][:rest], "ca.pem": files["ca.pem"] * 2}
    (found,) = lines(f"gateway: {{{BOTH}, ssl_client_ca: ca.pem}}{AGENTS}", **given(half))
    assert "gateway.ssl_cert: " in found
    assert "is cut off, or damaged" in found
    half = {**files, "ca.pem": files["ca.pem"] * 2 + files["ca.pem"][:rest]}
    (found,) = lines(f"gateway: {{{BOTH}, ssl_client_ca: ca.pem}}{AGENTS}", **given(half))
    assert "gateway.ssl_client_ca: " in found


def test_remarks_between_the_blocks_need_not_be_ascii(files: dict[str, bytes]) -> None:
    """Bundles of authorities have names in them."""
    marked = {**files, "ca.pem": "# F\u0151tan\u00fas\u00edtv\u00e1ny\n".encode() + files["ca.pem"]}
    text = f"gateway: {{{BOTH}, ssl_client_ca: ca.pem}}{AGENTS}"
    assert lines(text, **given(marked)) == []
    tls = loaded(text, **given(marked)).config.gateway.tls
    assert tls is not None
    assert context_of(tls).verify_mode is ssl.CERT_REQUIRED


def test_what_the_listener_does_not_take_is_refused(files: dict[str, bytes]) -> None:
    """An authority among the listener's own certificates whose key is too weak for the library that shows them."""
    weak, _ = Authority("ours").issue("between", key=rsa.generate_private_key(65537, 512 * 2))
    found = loaded(f"gateway: {{{BOTH}}}{AGENTS}", **given({**files, "s.pem": files["s.pem"] + weak}))
    with pytest.raises(ConfigRefused) as refused:
        judged(found, "gateway.yaml", time.time())
    assert "gateway.ssl_cert: the listener does not take s.pem: " in str(refused.value)


def test_the_content_counts_and_a_key_is_never_shown(files: dict[str, bytes]) -> None:
    """Another content is another configuration, live; to come or go needs a restart. Paths, credentials, variables."""
    text = f"gateway: {{{BOTH}, ssl_client_ca: ca.pem}}{AGENTS}"
    old = loaded(text, **given(files))
    renewed = {**files, "s.pem": files["other.pem"], "s.key": files["other.key"]}
    new = loaded(text, **given(renewed))
    plain = loaded(AGENTS, **given(files))
    other_way = loaded(
        "gateway: {ssl_cert: 'file:${PEM}', ssl_key: 'credential:s.key'}" + AGENTS,
        environ={"PEM": "s.pem"},
        **given(files),
    )

    assert old.digest == loaded(text, **given(files)).digest
    assert old.digest != new.digest
    change = diff(old.config, new.config)
    assert {each.path for each in change.paths} == {"gateway.ssl_cert", "gateway.ssl_key"}
    assert change.restart_required == ()
    assert diff(plain.config, old.config).restart_required == (
        "gateway.ssl_cert",
        "gateway.ssl_client_ca",
        "gateway.ssl_key",
    )
    assert other_way.config.gateway.tls is not None
    assert other_way.config.gateway.tls.key.path == "/run/credentials/s.key"
    shown = render(old.config, old.origins) + repr(old.config) + str(change)
    assert "PRIVATE" not in shown
    assert files["s.key"].splitlines()[1].decode() not in shown


@pytest.mark.parametrize(("mode", "kept_well"), [(0o600, True), (0o640, True), (0o644, False), (0o660, False)])
def test_a_key_that_others_reach_is_doubtful_and_with_strict_refused(
    files: dict[str, bytes], mode: int, *, kept_well: bool
) -> None:
    warnings = loaded(f"gateway: {{{BOTH}}}{AGENTS}", **given(files, mode)).warnings
    strict = lines(f"gateway: {{strict: true, {BOTH}}}{AGENTS}", **given(files, mode))

    assert [warning.path for warning in warnings] == ([] if kept_well else ["gateway.ssl_key"])
    assert len(strict) == (0 if kept_well else 1)


def test_the_end_of_a_certificate_is_told_before_and_refused_after(files: dict[str, bytes]) -> None:
    def read(name: str) -> Loaded:
        return loaded(f"gateway: {{ssl_cert: {name}.pem, ssl_key: {name}.key}}{AGENTS}", **given(files))

    now = time.time()
    good = judged(read("s"), "gateway.yaml", now)
    soon = judged(read("soon"), "gateway.yaml", now)
    with pytest.raises(ConfigRefused, match=r"gateway\.ssl_cert: the certificate in .*ended\.pem ended 2"):
        judged(read("ended"), "gateway.yaml", now)
    with pytest.raises(ConfigRefused, match="begins"):
        judged(read("s"), "gateway.yaml", now - 61 * 86400)

    assert good.warnings == ()
    assert "ends in 5 days" in str(soon.warnings[0])


def test_the_path_is_taken_from_the_folder_of_the_file(files: dict[str, bytes]) -> None:
    seen: list[Path] = []

    def read_file(path: Path, limit: int) -> bytes:
        seen.append(path)
        return files[path.name][:limit]

    loaded(
        f"gateway: {{ssl_cert: tls/s.pem, ssl_key: /else/s.key}}{AGENTS}", read_file=read_file, folder=Path("/etc/g")
    )

    assert seen == [Path("/etc/g/tls/s.pem"), Path("/else/s.key")]
