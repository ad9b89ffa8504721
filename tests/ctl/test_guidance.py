"""What an operator reads after a slip: what was wrong, what there is instead, and where to look."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from gateway.v1 import admin_service_pb2

from gatewayctl import scopes
from gatewayctl.address import Address
from gatewayctl.client import GatewayError as SdkError
from gatewayctl.commands.reload import EVERY_PART_HAS
from gatewayctl.events import event_types
from gatewayctl.refusal import failure_of_error
from gatewayctl.words import delay
from gatewayd.access.scopes import Action, Scope
from gatewayd.config.canonical import leaves
from gatewayd.config.checks import RESERVED_CLIENTS
from gatewayd.config.model import AgentSection, ChannelSection, ClientSection, GatewayConfig
from gatewayd.config.problems import dotted
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.event import EventType
from tests.ctl.answers import everything
from tests.ctl.command import ctl
from tests.ctl.fake_gateway import FakeGateway, Refusal
from tests.rigs.certificates import Authority

pytestmark = pytest.mark.usefixtures("quiet_environment")
Capture = pytest.CaptureFixture[str]


def test_the_kinds_and_types_are_those_of_the_daemon() -> None:
    assert list(scopes.EXAMPLES) == [str(kind) for kind in Action]
    assert event_types() == [kind.label for kind in EventType]
    for example in scopes.EXAMPLES.values():
        assert str(Scope.parse(example)) == example
        assert scopes.fault(example) == ""


@pytest.mark.parametrize(
    "scope",
    [
        "bogus",
        "",
        "admin.read:x",
        "agents.send",
        "agents.send:",
        "agents.send:a b",
        "sessions:mine",
        "push:",
        "events.publish:message",
        "events.subscribe:@*",
        "events.publish:mesage@*",
        "events.publish:Message@*",
        "events.publish:execution-failed@*",
        f"runtime:{'x' * 512}",
    ],
)
async def test_no_token_is_made_for_a_scope_that_the_daemon_would_refuse(capsys: Capture, scope: str) -> None:
    with pytest.raises(InvalidArgument):
        Scope.parse(scope)

    done = await ctl(capsys, "token", "new", "dash", "--scope", "admin.read", "--scope", scope)

    assert (done.code, done.out) == (2, "")
    assert "is no scope: " in done.err
    assert done.err.splitlines()[1].startswith("for example: gatewayctl token new ")


async def test_an_unknown_kind_of_scope_names_the_kinds(capsys: Capture) -> None:
    bogus = await ctl(capsys, "token", "new", "dash", "--scope", "bogus")
    near = await ctl(capsys, "token", "new", "dash", "--scope", "agent.send:*")

    assert all(str(kind) in bogus.err for kind in Action)
    assert "did you mean agents.send?" in near.err


@pytest.mark.parametrize("client", ["", "a b", "a/b", "a\n", "é", "x" * 65, *RESERVED_CLIENTS])
async def test_no_token_is_made_for_a_name_that_the_daemon_would_refuse(capsys: Capture, client: str) -> None:
    done = await ctl(capsys, "token", "new", client)

    assert (done.code, done.out) == (2, "")


@pytest.mark.parametrize("client", ["x" * 64, "_a", "a.b-c_d"])
async def test_a_token_is_made_for_any_name_that_the_daemon_takes(capsys: Capture, client: str) -> None:
    assert (await ctl(capsys, "token", "new", client)).code == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["token", "new", "dash", "--scop", "x"],
            b"gatewayctl: unrecognized arguments: --scop x\nsee gatewayctl token new --help\n",
        ),
        (
            ["token", "new"],
            b"gatewayctl: the following arguments are required: CLIENT\nsee gatewayctl token new --help\n",
        ),
        (["status", "a\nb"], b"gatewayctl: unrecognized arguments: a\\x0ab\nsee gatewayctl status --help\n"),
        ([], b"gatewayctl: the following arguments are required: COMMAND\nsee gatewayctl --help\n"),
    ],
)
def test_a_usage_error_is_two_lines_and_names_the_help_of_its_verb(words: list[str], expected: bytes) -> None:
    done = subprocess.run([sys.executable, "-m", "gatewayctl", *words], capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (2, b"", expected)


def test_making_the_environment_begins_with_a_word(tmp_path: Path) -> None:
    """Before the minute in which pip says nothing."""
    root = Path(__file__).parents[2]
    # The tests may themselves run under make, whose flags a make below it inherits.
    environ = {name: text for name, text in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    command = ["make", "--no-print-directory", "--dry-run", "demo", f"VENV={tmp_path}/venv"]
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[0] == f'echo "making the environment in {tmp_path}/venv (a minute or two, once)"'


async def test_both_config_verbs_take_the_file_in_both_forms(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("agents:\n  only-here: {model: offline/echo}\nchannels:\n  sim: {routing: {default: only-here}}\n")

    for verb in ("check", "show"):
        word = await ctl(capsys, "config", verb, str(file), "-o", "json")
        option = await ctl(capsys, "config", verb, "--config", str(file), "-o", "json")
        twice = await ctl(capsys, "config", verb, str(file), "--config", str(file))

        assert word.code == option.code == 0
        assert "only-here" in word.out
        assert word.out == option.out
        assert (twice.code, twice.out) == (2, "")


@pytest.mark.parametrize("words", [["events", "--type", "execution_complete"], ["publish", "execution-complete"]])
async def test_an_unknown_type_names_the_nearest_and_help_names_all(capsys: Capture, words: list[str]) -> None:
    done = await ctl(capsys, *words)
    helped = await ctl(capsys, words[0], "--help")

    assert done.code == 2
    assert "did you mean execution_completed?" in done.err
    assert f"gatewayctl {words[0]} --help" in done.err
    assert set(event_types()) <= set(helped.out.replace(",", " ").replace(".", " ").split())


async def test_events_say_how_to_go_on(gateway: FakeGateway, capsys: Capture) -> None:
    gateway.answers = everything()

    people = await ctl(capsys, "--address", gateway.address, "events")
    chosen = await ctl(capsys, "--address", gateway.address, "events", "--type", "message", "--topic", "a.>")
    programs = await ctl(capsys, "--address", gateway.address, "events", "-o", "json")

    assert people.err == "to go on: gatewayctl events --since e1:2 --follow\n"
    assert chosen.err == "to go on: gatewayctl events --since e1:2 --follow --type message --topic 'a.>'\n"
    assert programs.err == ""
    assert [json.loads(line)["cursor"] for line in programs.out.splitlines()] == ["e1:1", "e1:2"]


@pytest.mark.parametrize("cursor", ["bogus", "e1:", ":7", "e1:x", f"e1:{'9' * 19}"])
async def test_what_is_no_cursor_is_told_before_anybody_is_asked(
    gateway: FakeGateway, capsys: Capture, cursor: str
) -> None:
    for more in ([], ["--follow"]):
        done = await ctl(capsys, "--address", gateway.address, "events", "--since", cursor, *more)

        assert done.code == 2
        assert "EPOCH:SEQ that `gatewayctl events` prints" in done.err
    assert gateway.requests == []


async def test_a_token_of_the_environment_that_was_not_sent_is_named(
    gateway: FakeGateway, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.required_token = "secret"
    monkeypatch.setenv("GATEWAYD_TOKEN", "secret")
    remark = f"set GATEWAYD_ADDRESS={gateway.address}"

    ignored = [await ctl(capsys, "--address", gateway.address, *words) for words in (["agents"], ["send", "a", "hi"])]
    monkeypatch.setenv("GATEWAYD_ADDRESS", gateway.address)
    used = await ctl(capsys, "agents")
    monkeypatch.setenv("GATEWAYD_TOKEN", "wrong")
    wrong = await ctl(capsys, "--address", gateway.address, "agents")

    for done in ignored:
        assert done.code == 5
        assert "GATEWAYD_TOKEN is set but was not sent" in done.err
        assert remark in done.err
        assert "secret" not in done.err
    assert used.code == 0
    assert wrong.code == 5
    assert "GATEWAYD_TOKEN is set but" not in wrong.err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (0.98765, "1 s"),
        (1.0, "1 s"),
        (1.5, "2 s"),
        (59.2, "1 min"),
        (61, "2 min"),
        (3599.98, "1 h"),
        (5400, "1 h 30 min"),
    ],
)
async def test_a_delay_is_rounded_up(gateway: FakeGateway, capsys: Capture, seconds: float, text: str) -> None:
    gateway.answers["AdminService/ListAgents"] = Refusal(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED", "too many calls", retry_after=seconds
    )

    done = await ctl(capsys, "--address", gateway.address, "agents")

    assert delay(seconds) == text
    assert done.err == f"gatewayctl: too many calls (try again in {text})\n"


def test_the_leaf_that_every_part_has_is_one_that_the_daemon_lists() -> None:
    config = GatewayConfig(
        agents={"x": AgentSection(model="offline/echo")},
        channels={"x": ChannelSection(platform="sim", routing={"default": "x"})},
        clients={"x": ClientSection(token_sha256=("a" * 64,))},
    )

    listed = {dotted(path) for path, _ in leaves(config)}

    assert {f"{section}.x{leaf}" for section, leaf in EVERY_PART_HAS.items()} <= listed


async def test_a_part_that_came_or_went_as_a_whole_is_one_line(gateway: FakeGateway, capsys: Capture) -> None:
    answer = admin_service_pb2.ReloadConfigResponse(
        digest="b" * 64,
        previous_digest="a" * 64,
        added=[
            *(f"agents.new.{leaf}" for leaf in ("model", "tools")),
            "agents.old.tools",
            *(f"channels.slowsim.{leaf}" for leaf in ("platform", "enabled", "routing.default")),
            *(f"channels.slowsim.eu.{leaf}" for leaf in ("platform", "enabled")),
            "channels.vip.routing.dm",
        ],
        removed=[
            *(f"clients.ci.{leaf}" for leaf in ("expires", "scopes", "token_sha256")),
            "channels.vip.routing.group",
        ],
        changed=["agents.old.model", "gateway.port"],
    )
    gateway.answers["AdminService/ReloadConfig"] = answer

    people = await ctl(capsys, "--address", gateway.address, "reload")
    programs = await ctl(capsys, "--address", gateway.address, "reload", "--plan", "-o", "json")

    assert people.out.splitlines()[:-1] == [
        "+ agents.new",
        "+ agents.old.tools",
        "+ channels.slowsim",
        "+ channels.slowsim.eu",
        "+ channels.vip.routing.dm",
        "- clients.ci",
        "- channels.vip.routing.group",
        "~ agents.old.model",
        "~ gateway.port",
    ]
    assert json.loads(programs.out)["added"] == list(answer.added)


async def test_words_and_input_that_are_no_text_are_named_and_no_defect(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that are not UTF-8 come as halves of surrogate pairs, which go into no message."""
    done = await ctl(capsys, "executions", "show", "\udcff\udcfe")
    assert (done.code, done.err) == (2, "gatewayctl: word 3 of the command is not text in UTF-8\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))
    done = await ctl(capsys, "executions", "input", "x1", "-")
    assert (done.code, done.err) == (1, "gatewayctl: standard input is not text in UTF-8\n")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Tls handshake failed (TSI_PROTOCOL_FAILURE): CERTIFICATE_VERIFY_FAILED: unable to get local issuer", "--ca"),
        ("Handshake failed: WRONG_VERSION_NUMBER", "it speaks none"),
        ("ipv4:127.0.0.1:8765: Socket closed", "if it speaks TLS"),
        ("Cannot check peer: missing selected ALPN property.", "handshake failed"),
        ("Failed to connect to remote host: Connection refused", "start it"),
    ],
)
def test_what_keeps_tls_from_working_is_told_apart_from_nobody_being_there(said: str, told: str) -> None:
    error = SdkError(said, code=grpc.StatusCode.UNAVAILABLE.value[0])
    failure = failure_of_error(error, Address("example.com:8765", given=True), has_token=True)
    assert (failure.code, told in failure.message) == (3, True), failure.message
    local = failure_of_error(error, Address("unix:/run/gatewayd/gatewayd.sock", given=True), has_token=True)
    assert "start it" in local.message


@pytest.mark.parametrize("part", ["--ca", "--client-key"])
async def test_a_file_that_holds_no_pem_is_named(capsys: Capture, tmp_path: Path, part: str) -> None:
    """grpc would say on the terminal that something could not be loaded, and that nobody answers."""
    cert, key = Authority("ours").issue("me")
    files = {"--ca": cert, "--client-cert": cert, "--client-key": key}
    words = []
    for name, content in files.items():
        (tmp_path / name).write_bytes(b"nonsense" if name == part else content)
        words += [name, str(tmp_path / name)]
    (tmp_path / "token").write_text("gw_me_" + "0" * 43)
    (tmp_path / "token").chmod(0o600)
    done = await ctl(capsys, "--address", "localhost:1", "--token-file", str(tmp_path / "token"), *words, "status")
    assert done.code == 2
    assert f"{tmp_path / part} holds no" in done.err


def test_what_is_wrong_with_one_field_is_said_once() -> None:
    wrong = "topic 'a..b': words are separated by single dots"
    error = SdkError(f"topic: {wrong}", code=3, reason="INVALID_ARGUMENT", violations=[("topic", wrong)])

    failure = failure_of_error(error, Address("unix:/x", given=True), has_token=False)

    assert (failure.message, list(failure.lines)) == (f"topic: {wrong}", [])
