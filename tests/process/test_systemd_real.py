"""The unit under a real systemd: start, status, reload, kill, stop, exposure, journal.

It takes minutes and root, so it runs only when asked for: `GATEWAYD_SYSTEMD=1`.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT.parent / "shared" / "tools" / "systemd-vm.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not TOOL.exists(), reason="../shared/tools/systemd-vm.py is absent: there is no systemd to boot"
    ),
    pytest.mark.skipif(os.environ.get("GATEWAYD_SYSTEMD") != "1", reason="boots a systemd: set GATEWAYD_SYSTEMD=1"),
    pytest.mark.skipif(os.geteuid() != 0, reason="booting a systemd needs root"),
]

CONFIG = "agents:\\n  assistant: {model: offline/assistant}\\n"


def test_the_life_of_the_service(tmp_path):
    # A copy of this environment in which the packages themselves stand instead of a link to the sources.
    venv = tmp_path / "venv"
    shutil.copytree(sys.prefix, venv, symlinks=True)
    site = next(venv.glob("lib/python3*/site-packages"))
    for link in site.glob("_*gatewayd*.pth"):
        link.unlink()
    for package in ("gatewayd", "gatewayctl"):
        shutil.copytree(ROOT / package, site / package)
    shutil.copytree(ROOT / "proto" / "gen" / "python" / "gateway", site / "gateway")
    unit = tmp_path / "gatewayd.service"
    text = (ROOT / "systemd" / "gatewayd.service").read_text()
    unit.write_text(re.sub(r"(?m)^(Exec\w+=)/usr/bin/", r"\1/opt/gatewayd/bin/", text))
    for program in ("gatewayd", "gatewayctl"):
        script = venv / "bin" / program
        script.write_text(re.sub(r"\A#!.*", "#!/opt/gatewayd/bin/python", script.read_text()))
    answer = subprocess.run(
        [
            *(sys.executable, TOOL, "run", "--unit", unit, "--venv", f"{venv}:/opt/gatewayd"),
            *("--suite", "lifecycle", "--score", "1.2", "--log", tmp_path / "console.log"),
            *("--setup", f"mkdir -p /etc/gatewayd && printf '{CONFIG}' > /etc/gatewayd/gateway.yaml"),
        ],
        capture_output=True,
        text=True,
        timeout=880,
        check=False,
    )
    failed = [line for line in answer.stdout.splitlines() if line.startswith("not ok")]
    assert answer.returncode == 0, "\n".join(failed) or answer.stdout[-2000:] + answer.stderr[-2000:]
    passed = [line for line in answer.stdout.splitlines() if line.startswith("ok ")]
    print("\n".join(passed))
    assert len(passed) >= 12, "the checks did not run"
