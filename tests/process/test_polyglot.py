"""The example clients in other languages, where their toolchains are: `docs/clients/run.py` judges, this asks it.

Nothing is installed here (`make polyglot` does that), except Node's libraries, which npm puts beside the example.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / "docs" / "clients" / "run.py"
ABSENT = 3
"""Its exit code when a toolchain is not there."""


@pytest.mark.slow
@pytest.mark.parametrize("language", ["node", "go", "cpp", "ruby"])
def test_a_client_from_the_protos_alone_loses_nothing_when_it_is_cut_off(language):
    run = subprocess.run(
        [sys.executable, str(RUN), "--no-install", language],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    if run.returncode == ABSENT:
        pytest.skip(run.stderr.strip())
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1].split()[-1] == "ok"


def test_the_lock_file_of_node_names_no_registry():
    """So that it holds for whatever registry npm is set up with."""
    folder = ROOT / "docs" / "clients" / "node"
    assert "omit-lockfile-registry-resolved=true" in (folder / ".npmrc").read_text()
    lock = (folder / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert "registry." not in lock
