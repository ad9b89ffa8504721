"""What needs no daemon: tokens, the configuration, completion."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import gatewayctl
import gatewayd
from tests.ctl.command import ctl

pytestmark = pytest.mark.usefixtures("quiet_environment")
Capture = pytest.CaptureFixture[str]

CONFIG = """\
agents:
  assistant: {model: offline/echo, role: Helper, tools: [current_time]}
  sales: {model: offline/echo}
channels:
  demo:
    platform: sim
    routing: {dm: sales, default: assistant}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG)
    return str(file)


def test_both_packages_are_of_one_version() -> None:
    assert gatewayctl.__version__ == gatewayd.__version__


async def test_a_token_has_its_form_and_its_lines_fit_the_configuration(
    capsys: Capture, tmp_path: Path, config: str
) -> None:
    """The printed lines, put into a gateway.yaml, are accepted and hold the digest of the printed secret."""
    done = await ctl(capsys, "token", "new", "ci-bot", "--scope", "admin.read", "--scope", "agents.send:*")

    token, _, lines = done.out.partition("\n")
    assert re.fullmatch(r"gw_ci-bot_[A-Za-z0-9_-]{43}", token)
    assert len(base64.urlsafe_b64decode(token.removeprefix("gw_ci-bot_") + "=")) == 32
    entry = yaml.safe_load(lines)["clients"]["ci-bot"]
    assert entry == {
        "token_sha256": hashlib.sha256(token.encode()).hexdigest(),
        "scopes": ["admin.read", "agents.send:*"],
    }
    assert token not in done.err
    file = tmp_path / "with-client.yaml"
    file.write_text(CONFIG + lines)
    checked = await ctl(capsys, "config", "check", str(file))
    assert checked.code == 0, checked.out


async def test_two_tokens_differ(capsys: Capture) -> None:
    first = json.loads((await ctl(capsys, "-o", "json", "token", "new", "a")).out)
    second = json.loads((await ctl(capsys, "-o", "json", "token", "new", "a")).out)

    assert first["token"] != second["token"]


async def test_channels_and_agents_of_a_file(capsys: Capture, config: str) -> None:
    channels = await ctl(capsys, "channels", "--config", config)
    agents = await ctl(capsys, "agents", "--config", config, "-o", "json")

    assert channels.out.splitlines()[1] == "demo     sim       yes      dm → sales, default → assistant"
    assert [row["id"] for row in json.loads(agents.out)] == ["assistant", "sales"]


@pytest.mark.parametrize(("context", "agent"), [("dm", "sales"), ("group", "assistant")])
async def test_a_route_is_explained_by_a_file(capsys: Capture, config: str, context: str, agent: str) -> None:
    done = await ctl(capsys, "route", "explain", "demo", context, "--config", config)

    assert done.code == 0
    assert done.out.splitlines()[-1].startswith(f"{agent} (channels.demo.routing.")


async def test_an_unknown_channel_is_unknown(capsys: Capture, config: str) -> None:
    done = await ctl(capsys, "route", "explain", "nope", "dm", "--config", config)

    assert done.code == 4


async def test_problems_come_as_file_and_line(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("agents:\n  a: {modl: x}\n")

    checked = await ctl(capsys, "config", "check", str(file))
    listed = await ctl(capsys, "agents", "--config", str(file))

    assert checked.code == listed.code == 1
    assert f"{file}:2:" in checked.out + checked.err
    assert any(line.startswith(f"{file}:2:") for line in listed.err.splitlines())


async def test_the_configuration_is_shown(capsys: Capture, config: str) -> None:
    people = await ctl(capsys, "config", "show", "--config", config)
    programs = await ctl(capsys, "config", "show", "--config", config, "-o", "json")

    assert "offline/echo" in people.out
    assert json.loads(programs.out)["config"]["agents"]["sales"]["model"] == "offline/echo"


def completions(script: str, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    typed = f'COMP_WORDS=({" ".join(words)} "")\nCOMP_CWORD={len(words)}'
    program = f'{script}\n{typed}\n_gatewayctl\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


async def test_bash_completes_verbs_options_and_choices(capsys: Capture) -> None:
    script = (await ctl(capsys, "completion", "bash")).out

    assert {"status", "chat", "dead-letters", "--address"} <= set(completions(script, "gatewayctl"))
    assert {"list", "show", "erase"} <= set(completions(script, "gatewayctl", "sessions"))
    assert "--history" in completions(script, "gatewayctl", "sessions", "show")
    assert completions(script, "gatewayctl", "status", "-o") == ["table", "json", "yaml"]
    assert completions(script, "gatewayctl", "send", "--context") == ["dm", "group", "channel"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_each_shell_can_read_its_script(capsys: Capture, shell: str) -> None:
    script = (await ctl(capsys, "completion", shell)).out

    assert "dead-letters" in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True)
