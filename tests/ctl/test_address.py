"""Finding the daemon, and never sending a token where it does not belong (I1)."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatewayctl.address import canonical, find_address
from gatewayctl.credentials import find_token
from gatewayctl.failures import Failure
from gatewayd.daemon.paths import resolve_paths
from tests.ctl.answers import everything
from tests.ctl.command import ctl
from tests.ctl.fake_gateway import FakeGateway

pytestmark = pytest.mark.usefixtures("quiet_environment")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
async def tcp() -> AsyncIterator[FakeGateway]:
    fake = FakeGateway()
    fake.answers = everything()
    await fake.start("127.0.0.1:0")
    yield fake
    await fake.stop()


def credentials(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    file = tmp_path / "config" / "gatewayctl" / "credentials"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def test_the_option_comes_before_the_environment_before_the_sockets_before_the_port(tmp_path: Path) -> None:
    socket = tmp_path / "gatewayd" / "gatewayd.sock"
    socket.parent.mkdir()
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}

    assert find_address(None, env).text in ("127.0.0.1:8765", "unix:/run/gatewayd/gatewayd.sock")
    socket.touch()
    assert find_address(None, env).text == f"unix:{socket}"
    assert find_address(None, env | {"GATEWAYD_ADDRESS": "host:1"}).text == "host:1"
    assert find_address("host:2", env | {"GATEWAYD_ADDRESS": "host:1"}).text == "host:2"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("unix:/run/x.sock", "unix:/run/x.sock"),
        ("unix:///run/x.sock", "unix:/run/x.sock"),
        ("/run/x.sock", "unix:/run/x.sock"),
        ("LocalHost:08765", "localhost:8765"),
        ("127.0.0.1", "127.0.0.1:8765"),
        ("[::1]:80", "[::1]:80"),
        ("[::1]", "[::1]:8765"),
    ],
)
def test_an_address_has_one_spelling(text: str, same: str) -> None:
    assert canonical(text) == same


@pytest.mark.parametrize("text", [":80", "host:", "host:0", "host:70000", "a b:1", "http://host:1", "::1:80"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Failure, match="no address"):
        canonical(text)


async def test_a_stored_token_goes_to_its_address_only(tcp: FakeGateway, tmp_path: Path, capsys: Capture) -> None:
    credentials(tmp_path, f"# mine\n{tcp.address} right\nlocalhost:{tcp.address.split(':')[1]} other\n")

    await ctl(capsys, "--address", tcp.address, "agents")
    await ctl(capsys, "--address", tcp.address.replace("127.0.0.1", "127.0.0.2"), "agents")

    assert tcp.tokens == ["Bearer right"]


async def test_a_stranger_on_another_address_learns_nothing(
    tcp: FakeGateway, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens for other addresses, in the file and in the environment, do not go to the one that is asked."""
    credentials(tmp_path, "127.0.0.1:1 secret\n")
    monkeypatch.setenv("GATEWAYD_TOKEN", "secret")
    await ctl(capsys, "--address", tcp.address, "agents")
    monkeypatch.setenv("GATEWAYD_ADDRESS", "127.0.0.1:2")
    await ctl(capsys, "--address", tcp.address, "agents")

    assert tcp.tokens == [None, None]


async def test_the_environments_token_belongs_to_the_environments_address(
    tcp: FakeGateway, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAYD_ADDRESS", tcp.address)
    monkeypatch.setenv("GATEWAYD_TOKEN", "env")

    await ctl(capsys, "agents")

    assert tcp.tokens == ["Bearer env"]


@pytest.mark.parametrize("token", ["gw_a\u00e4", "gw_a\nb", "gw_a\x1b[31m"])
async def test_a_token_that_no_request_can_carry_is_told_without_showing_it(
    tcp: FakeGateway, monkeypatch: pytest.MonkeyPatch, capsys: Capture, token: str
) -> None:
    monkeypatch.setenv("GATEWAYD_ADDRESS", tcp.address)
    monkeypatch.setenv("GATEWAYD_TOKEN", token)

    done = await ctl(capsys, "status")

    assert (done.code, done.out) == (2, "")
    assert "characters that are in no token" in done.err
    assert "gw_a" not in done.err


async def test_a_token_file_needs_an_address(tcp: FakeGateway, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "token"
    file.write_text("bare\n")
    file.chmod(0o600)

    refused = await ctl(capsys, "--token-file", str(file), "agents")
    done = await ctl(capsys, "--token-file", str(file), "--address", tcp.address, "agents")

    assert refused.code == 2
    assert "without an address" in refused.err
    assert done.code == 0
    assert tcp.tokens == ["Bearer bare"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
async def test_a_file_that_others_can_read_is_refused(
    tcp: FakeGateway, tmp_path: Path, capsys: Capture, mode: int
) -> None:
    file = credentials(tmp_path, f"{tcp.address} secret\n", mode)

    done = await ctl(capsys, "--address", tcp.address, "agents")

    assert done.code == 1
    assert done.err == f"gatewayctl: {file} can be read by others: run `chmod 600 {file}`\n"
    assert tcp.tokens == []


def test_a_token_does_not_cross_a_network_in_the_clear(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    credentials(tmp_path, "127.evil.example:8765 secret\n10.0.0.1:8765 secret\n")

    for host in ("127.evil.example", "10.0.0.1"):
        with pytest.raises(Failure, match="in the clear"):
            find_token(find_address(f"{host}:8765", env), None, env)


async def test_a_proxy_of_the_environment_is_not_used(
    tcp: FakeGateway, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)

    done = await ctl(capsys, "--address", tcp.address, "agents")

    assert done.code == 0, os.environ.get("no_proxy")


async def test_without_a_token_the_person_is_told_where_to_put_one(tcp: FakeGateway, capsys: Capture) -> None:
    tcp.required_token = "secret"

    done = await ctl(capsys, "--address", tcp.address, "agents")

    assert done.code == 5
    assert f"'{tcp.address} TOKEN'" in done.err
    assert "credentials (mode 0600)" in done.err


@pytest.mark.parametrize(
    "variables",
    [
        {"RUNTIME_DIRECTORY": "{0}/rt:{0}/other"},
        {"XDG_RUNTIME_DIR": "{0}/xdg"},
        {"STATE_DIRECTORY": "{0}/state"},
        {"XDG_STATE_HOME": "{0}/kept"},
        {},
    ],
)
def test_the_socket_is_found_wherever_the_daemon_puts_it(tmp_path: Path, variables: dict[str, str]) -> None:
    """The daemon's own rules say where it is; gatewayctl looks there without being told."""
    env = {"HOME": f"{tmp_path}/home"} | {name: text.format(tmp_path) for name, text in variables.items()}
    socket = resolve_paths(env).socket
    socket.parent.mkdir(parents=True)
    socket.touch()

    assert find_address(None, env).text == f"unix:{socket}"
