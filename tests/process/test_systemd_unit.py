"""The unit file: hardened as promised, and accepted by systemd without a word."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gatewayd.config.model import GatewaySection
from gatewayd.daemon.exits import Exit
from gatewayd.daemon.loophealth import BLOCKED_AFTER
from gatewayd.daemon.supervise import CUT_MARGIN, STOP_MARGIN

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "systemd" / "gatewayd.service"
needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (package systemd)"
)


def settings():
    pairs = [line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and line[0] not in "#;"]
    return dict(pairs)


@needs_analyze
def test_exposure_is_at_most_1_2():
    answer = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=12", "--no-pager", UNIT],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert answer.returncode == 0, answer.stdout[-400:]


@needs_analyze
@pytest.mark.parametrize("drop_in", [None, "local-only.conf"])
def test_it_verifies_silently(tmp_path, drop_in):
    # The programs are not installed where tests run; everything else is verified as it is.
    text = re.sub(r"(?m)^(Exec\w+=)/usr/bin/gateway\w+", r"\1/bin/true", UNIT.read_text())
    unit = tmp_path / "gatewayd.service"
    unit.write_text(text)
    if drop_in:
        folder = tmp_path / "gatewayd.service.d"
        folder.mkdir()
        (folder / drop_in).write_text((ROOT / "systemd" / "drop-ins" / drop_in).read_text())
    answer = subprocess.run(
        ["systemd-analyze", "verify", unit], check=False, capture_output=True, text=True, timeout=30
    )
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, "")


def test_F26_its_stop_timeout_is_the_drain_budget_and_30_seconds():
    drain = GatewaySection().drain_timeout
    assert settings()["TimeoutStopSec"] == f"{drain + 30:.0f}"
    assert STOP_MARGIN < 30, "the daemon's own end by force must come before systemd's"
    assert CUT_MARGIN < STOP_MARGIN


def test_it_does_not_restart_what_a_person_must_mend():
    prevented = set(settings()["RestartPreventExitStatus"].split())
    assert prevented == {str(int(code)) for code in (Exit.USAGE, Exit.STATE, Exit.CONFIG)}
    assert settings()["Restart"] == "on-failure"


def test_a_refused_reload_is_visible_and_readiness_is_told():
    assert settings()["ExecReload"] == "/usr/bin/gatewayctl reload --wait"
    assert settings()["Type"] == "notify"
    assert settings()["NotifyAccess"] == "main"
    assert settings()["WatchdogSec"] == "30"


def test_F27_a_loop_that_stays_blocked_is_ended_by_the_watchdog_and_started_again():
    # A missed sign of life is an abnormal end, which `on-failure` covers (systemd.service(5), Restart=).
    assert settings()["WatchdogSec"] == "30"
    assert settings()["Restart"] == "on-failure"
    assert BLOCKED_AFTER == 1.0
