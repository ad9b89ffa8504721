"""How commands fail: one sentence that says what to do, and a code that a script can rely on."""

import socket
import time
from pathlib import Path

import grpc
import pytest

from gatewayctl import __version__
from gatewayctl.verbs import VERBS
from tests.ctl.answers import everything
from tests.ctl.command import ctl
from tests.ctl.fake_gateway import FakeGateway, Refusal
from tests.ctl.samples_admin import status

pytestmark = pytest.mark.usefixtures("quiet_environment")
Capture = pytest.CaptureFixture[str]


async def test_nobody_there_is_three_and_fast(tmp_path: Path, capsys: Capture) -> None:
    began = time.monotonic()

    done = await ctl(capsys, "--address", f"unix:{tmp_path}/none.sock", "--timeout", "600", "status")

    assert done.code == 3
    assert done.err.startswith(f"gatewayctl: gatewayd does not answer at unix:{tmp_path}/none.sock: start it")
    assert done.out == ""
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("code", "reason", "exit_code"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", 5),
        (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED", 5),
        (grpc.StatusCode.NOT_FOUND, "AGENT_NOT_FOUND", 4),
        (grpc.StatusCode.FAILED_PRECONDITION, "NO_ROUTE", 1),
        (grpc.StatusCode.UNAVAILABLE, "DRAINING", 1),
        (grpc.StatusCode.ABORTED, "EXECUTION_FAILED", 1),
    ],
)
async def test_each_refusal_has_its_code(
    gateway: FakeGateway, capsys: Capture, code: grpc.StatusCode, reason: str, exit_code: int
) -> None:
    """A daemon that refuses because it is stopping is running: that is 1, not 3."""
    gateway.answers["AgentService/SendMessage"] = Refusal(code, reason, "that will not do")

    done = await ctl(capsys, "--address", gateway.address, "send", "sales", "hello")

    assert done.code == exit_code
    assert done.err.startswith("gatewayctl: that will not do")


async def test_a_refused_configuration_lists_every_problem(gateway: FakeGateway, capsys: Capture) -> None:
    problems = (
        ("agents.a.modl", "gateway.yaml:3:5: agents.a.modl: unknown key (did you mean model?)"),
        ("channels.x", "gateway.yaml:9:1: channels.x: no token"),
    )
    gateway.answers["AdminService/ReloadConfig"] = Refusal(
        grpc.StatusCode.INVALID_ARGUMENT, "CONFIG_INVALID", "gateway.yaml:3:5: …", violations=problems
    )

    done = await ctl(capsys, "--address", gateway.address, "reload", "--plan")

    assert done.code == 1
    assert done.err.splitlines() == [
        "gatewayctl: the configuration has 2 problems, nothing was changed",
        *(text for _, text in problems),
    ]


async def test_lost_history_says_where_to_go_on(gateway: FakeGateway, capsys: Capture) -> None:
    gateway.answers["EventService/ListEvents"] = Refusal(
        grpc.StatusCode.OUT_OF_RANGE, "HISTORY_LOST", "that is no longer kept", metadata={"oldest_cursor": "e1:7"}
    )

    done = await ctl(capsys, "--address", gateway.address, "events", "--since", "e1:1")

    assert (done.code, done.err) == (1, "gatewayctl: that is no longer kept: go on with --since e1:7\n")


async def test_a_retry_delay_is_told(gateway: FakeGateway, capsys: Capture) -> None:
    gateway.answers["AdminService/GetStatus"] = Refusal(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED", "too many calls", retry_after=1.5
    )

    done = await ctl(capsys, "--address", gateway.address, "status")

    assert (done.code, done.err) == (1, "gatewayctl: too many calls (try again in 2 s)\n")


async def test_a_daemon_that_hangs_ends_at_the_deadline(gateway: FakeGateway, capsys: Capture, tmp_path: Path) -> None:
    """A listener that never speaks HTTP/2 holds up no command for ever."""
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()

        done = await ctl(capsys, "--address", f"unix:{tmp_path}/silent", "--timeout", "0.5", "status")

    assert done.code in (1, 3)
    assert time.monotonic() - began < 60


async def test_another_version_is_told_not_refused(gateway: FakeGateway, capsys: Capture) -> None:
    gateway.answers["AdminService/GetStatus"] = status("9.9.9")

    for words in (["status"], ["status", "--daemon-only"]):
        done = await ctl(capsys, "--address", gateway.address, *words)

        assert done.code == 0
        assert done.err == f"note: the daemon is gatewayd 9.9.9, this is gatewayctl {__version__}\n"


async def test_a_call_that_the_daemon_does_not_know(gateway: FakeGateway, capsys: Capture) -> None:
    gateway._methods.clear()

    done = await ctl(capsys, "--address", gateway.address, "agents")

    assert done.code == 1
    assert "does not know this call" in done.err


async def test_no_route_is_an_answer_that_fails(gateway: FakeGateway, capsys: Capture) -> None:
    done = await ctl(capsys, "--address", gateway.address, "route", "explain", "vip", "dm")

    assert (done.code, done.out) == (1, "no rule matches: nobody would answer\n")


@pytest.mark.parametrize(
    "words",
    [
        "",
        "sned a b",
        "send sales",
        "send sales --context dm hello",
        "chat",
        "chat a --channel b",
        "publish",
        "publish message --custom x",
        "publish message --ephemeral",
        "publish message --data [1]",
        "publish message --data {",
        'publish message --data {"colour":1}',
        "publish nonsense",
        "events --type nonsense",
        "events --limit -1",
        "sessions erase",
        "sessions erase S1 --peer 4",
        "reload --plan --wait",
        "status --timeout 0",
        "status --address :x",
        "token new bad/name",
        "route explain a b",
        "completion powershell",
    ],
)
async def test_usage_is_two(gateway: FakeGateway, capsys: Capture, words: str) -> None:
    address = [] if "--address" in words else ["--address", gateway.address]

    done = await ctl(capsys, *words.split(), *address)

    assert done.code == 2, done
    assert done.err.startswith("gatewayctl: ")
    assert gateway.requests == []


async def test_every_verb_explains_itself(capsys: Capture) -> None:
    for verb in VERBS:
        done = await ctl(capsys, verb, "--help")

        assert done.code == 0
        assert f"gatewayctl {verb}" in done.out


async def test_erasing_asks_first(gateway: FakeGateway, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answers = everything()

    done = await ctl(capsys, "--address", gateway.address, "sessions", "erase", "S1")

    assert done.code == 1
    assert gateway.requests == []
