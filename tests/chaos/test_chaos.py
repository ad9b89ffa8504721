"""Two cycles for real, and a daemon with a planted bug, which must not pass."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")


def chaos(tmp_path, *flags):
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    return subprocess.run(
        [sys.executable, RUN, *flags], capture_output=True, text=True, timeout=55, env=environ, check=False
    )


@pytest.fixture
def folder(tmp_path_factory):
    """Short enough for a unix socket's path."""
    return tmp_path_factory.mktemp("c")


@pytest.mark.slow
def test_two_crashes_lose_nothing(folder):
    done = chaos(folder, "--cycles", "2", "--seed", "3")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 violations" in done.stdout
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_an_acknowledgement_before_the_commit_is_found(folder):
    done = chaos(folder, "--cycles", "1", "--at", "store.before_commit", "--plant", "ack-before-commit")

    assert done.returncode == 1, done.stdout + done.stderr
    # Which promise the kill caught broken (an event, a send, a chat message) differs from run to run.
    assert "1 violation" in done.stdout or "violations" in done.stdout
    assert " 0 violations" not in done.stdout
    assert "repeat it with" in done.stdout


@pytest.mark.slow
def test_an_outbox_that_forgets_what_it_was_sending_is_found(folder):
    done = chaos(folder, "--cycles", "1", "--at", "outbox.after_send", "--chat", "hold", "--plant", "resend")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "was sent twice on hold" in done.stdout
