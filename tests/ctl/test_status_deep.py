"""`gatewayctl status --deep`: its exit code is the worst that was found, and a terminal sees what it waits for."""

import asyncio
import io
import json
from typing import Any

import pytest
from gateway.v1 import admin_service_pb2 as pb

from gatewayctl.cli import Ctl, build_parser
from gatewayctl.deep import run
from gatewayctl.plain import enum_names
from tests.ctl.answers import everything
from tests.ctl.command import ctl
from tests.ctl.fake_gateway import FakeGateway
from tests.ctl.samples_admin import checks

pytestmark = pytest.mark.usefixtures("quiet_environment")

WELL, WORSE, BROKEN = pb.CHECK_STATE_HEALTHY, pb.CHECK_STATE_DEGRADED, pb.CHECK_STATE_BROKEN


class Terminal(io.StringIO):
    """Somebody looks at it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("agent", "channel", "code", "state"),
    [
        (WELL, WELL, 0, "healthy"),
        (WORSE, WELL, 6, "degraded"),
        (WORSE, BROKEN, 7, "broken"),
        (BROKEN, WORSE, 7, "broken"),
    ],
)
async def test_the_exit_code_is_that_of_the_worst(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], agent: Any, channel: Any, code: int, state: str
) -> None:
    gateway.answers = everything() | {"AdminService/RunChecks": lambda asked: checks(asked.kinds[0], agent, channel)}

    for_people = await ctl(capsys, "--address", gateway.address, "status", "--deep")
    for_programs = await ctl(capsys, "--address", gateway.address, "-o", "json", "status", "--deep")

    assert (for_people.code, for_programs.code) == (code, code)
    assert for_people.out.splitlines()[-1] == state
    assert "\x1b" not in for_people.out
    told = json.loads(for_programs.out)
    assert told["state"] == state
    assert [one["kind"] for one in told["checks"]] == ["store", "agents", "agents", "channels"]
    assert for_people.err == for_programs.err == ""


async def test_a_state_that_is_not_known_is_not_taken_for_health(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = pb.RunChecksResponse(checks=[pb.Check(kind=pb.CHECK_KIND_STORE, summary="?")])
    answer.checks[0].state = 99  # type: ignore[assignment] - as a newer daemon may say
    gateway.answers = everything() | {"AdminService/RunChecks": answer}

    assert (await ctl(capsys, "--address", gateway.address, "status", "--deep")).code == 7


async def test_a_terminal_sees_each_kind_and_then_nothing_of_it(gateway: FakeGateway) -> None:
    gateway.answers = everything()
    args = build_parser(["status"]).parse_args(["--address", gateway.address, "status", "--deep"])
    here, screen = Ctl(args, {}), Terminal()

    try:
        code = await asyncio.to_thread(run, here, screen)
    finally:
        here.close()

    assert code == 0
    shown = screen.getvalue().split("\r\x1b[K")
    assert shown == ["", *(f"checking {kind} …" for kind in enum_names(pb.CheckKind.DESCRIPTOR)), ""]


async def test_deep_and_daemon_only_exclude_each_other(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    done = await ctl(capsys, "--address", gateway.address, "status", "--deep", "--daemon-only")

    assert done.code == 2
    assert "not allowed with" in done.err
