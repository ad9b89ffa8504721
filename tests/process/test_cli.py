"""The command line's answers, from the real program."""

import json
import subprocess
import sys

import pytest

GOOD = """
gateway: {port: 9000, auth_token: sup3rsecret-token}
agents:
  a: {model: offline/assistant}
channels:
  s: {platform: sim, routing: {dm: a}}
"""


@pytest.fixture
def ask(tmp_path):
    def ask(*flags, text=GOOD, environ=None):
        if text is not None:
            (tmp_path / "gateway.yaml").write_text(text)
        return subprocess.run(
            [sys.executable, "-m", "gatewayd", *flags],
            cwd=tmp_path,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **(environ or {})},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return ask


@pytest.mark.parametrize(
    "flags", ["--bogus", "--port x", "--port 65536", "--json", "--check --show-config", "word", "--conf x"]
)
def test_a_wrong_command_line_is_64(ask, flags):
    answer = ask(*flags.split())
    assert answer.returncode == 64
    assert "usage: gatewayd" in answer.stderr


def test_version_and_help(ask):
    assert ask("--version").stdout.startswith("gatewayd ")
    assert "exit codes" in ask("--help").stdout


def test_check_of_a_good_file(ask):
    answer = ask("--check")
    assert answer.returncode == 0
    assert "gateway.yaml: ok (1 agent, 1 channel)" in answer.stdout


def test_check_names_every_problem_with_its_place(ask):
    answer = ask("--check", text="gateway: {prot: 1}\nagents:\n  a: {model: offline/assistant, tools: [nothing]}\n")
    assert answer.returncode == 78
    lines = answer.stdout.splitlines()
    assert lines[0].startswith("gateway.yaml:1:11: gateway.prot: unknown key (did you mean port?")
    assert lines[1].startswith("gateway.yaml:3:")


def test_check_in_json_shows_channels_and_agents_and_no_secret(ask):
    answer = ask("--check", "--json")
    said = json.loads(answer.stdout)
    assert said["ok"] is True
    assert said["agents"]["a"]["model"] == "offline/assistant"
    assert "s" in said["channels"]
    assert "sup3rsecret" not in answer.stdout + answer.stderr


def test_check_in_json_of_a_bad_file(ask):
    answer = ask("--check", "--json", text="agents: {a: {}}\n")
    said = json.loads(answer.stdout)
    assert answer.returncode == 78
    assert said["ok"] is False
    assert {"file", "line", "col", "path", "what", "hint"} == said["problems"][0].keys()


def test_flags_override_the_file_and_show_config_says_so(ask):
    answer = ask("--show-config", "--port", "9100", "--host", "::1")
    assert 'host: "::1"  # flag --host' in answer.stdout
    assert "port: 9100  # flag --port" in answer.stdout
    assert "sup3rsecret" not in answer.stdout
    assert json.loads(ask("--show-config", "--json").stdout)["config"]["gateway"]["port"] == 9000


def test_a_bad_flag_is_a_problem_like_one_of_the_file(ask):
    answer = ask("--check", "--host", "0.0.0.0")
    assert answer.returncode == 78
    assert "--host" in answer.stdout


def test_agents_of_a_file_of_their_own(ask, tmp_path):
    (tmp_path / "more.yaml").write_text("agents:\n  b: {model: offline/assistant}\n")
    assert "2 agents" in ask("--check", "--agents", "more.yaml").stdout
    (tmp_path / "gateway.yaml").unlink()
    assert "1 agent, 0 channels" in ask("--check", "--agents", "more.yaml", text=None).stdout
    (tmp_path / "more.yaml").write_text("agents:\n  a: {model: offline/assistant}\n")
    assert ask("--check", "--agents", "more.yaml").returncode == 78
    assert ask("--check", "--agents", "missing.yaml").returncode == 78


def test_explain_route(ask):
    answer = ask("--explain-route", "s", "dm", "peer")
    assert answer.returncode == 0
    assert answer.stdout.startswith("agent a by channels.s.routing.dm\n")
    assert json.loads(ask("--explain-route", "s", "dm", "p", "--json").stdout)["agent"] == "a"
    assert ask("--explain-route", "s", "group", "p").returncode == 78
    assert ask("--explain-route", "x", "dm", "p").returncode == 64
    assert ask("--explain-route", "s", "lobby", "p").returncode == 64


def test_the_configuration_s_place_may_come_from_the_environment(ask, tmp_path):
    (tmp_path / "elsewhere.yaml").write_text("agents: {a: {model: offline/assistant}}\n")
    assert "1 agent, 0 channels" in ask("--check", environ={"GATEWAYD_CONFIG": "elsewhere.yaml"}).stdout
    assert ask("--check", environ={"GATEWAYD_CONFIG": "missing.yaml"}).returncode == 78
