"""Our arms of the benchmarks in one process do what they are ordered: a full run ends with them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ARMS = Path(__file__).parents[2] / "bench" / "inprocess"


@pytest.mark.parametrize(
    ("arm", "part"),
    [
        ("gatewayd_arm.py", "send"),
        ("gatewayd_arm.py", "publish"),
        ("gatewayd_bus_arm.py", "bus"),
        ("hive_bus_arm.py", "bus"),
    ],
)
def test_an_arm_handles_what_it_is_ordered_to(arm: str, part: str) -> None:
    order = {"part": part, "count": 20, "in_flight": 4}
    run = subprocess.run(
        [sys.executable, arm],
        cwd=ARMS,
        input=f"{json.dumps(order)}\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout.splitlines()[-1])
    assert answer["handled"] > 0
    assert answer["seconds"] > 0
