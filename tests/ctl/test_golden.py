"""What each verb prints, for people and for programs. `GOLDEN=write` writes the files anew: read the diff."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from gatewayctl import cli
from gatewayctl.system import SystemClock
from tests.ctl.answers import everything
from tests.ctl.command import ctl
from tests.ctl.fake_gateway import FakeGateway
from tests.ctl.samples import NOW

pytestmark = pytest.mark.usefixtures("quiet_environment", "no_clock")

GOLDEN = Path(__file__).with_name("golden")
VERBS = {
    "status": "status",
    "status-daemon-only": "status --daemon-only",
    "status-deep": "status --deep",
    "channels": "channels",
    "agents": "agents",
    "agents-instances": "agents instances",
    "agents-save": "agents save clerk writer/shop --name before",
    "agents-load": "agents load",
    "reload": "reload --wait",
    "reload-plan": "reload --plan",
    "send": "send sales hello",
    "send-channel": "send --channel vip --context group hello",
    "sessions": "sessions list --channel vip",
    "sessions-show": "sessions show S1",
    "sessions-export": "sessions export S1",
    "sessions-reset": "sessions reset S1",
    "sessions-erase": "sessions erase --channel vip --peer 42 --yes",
    "executions": "executions --state succeeded",
    "executions-show": "executions show X1",
    "executions-cancel": "executions cancel X1 --reason mine",
    "executions-pause": "executions pause X1 --reason lunch",
    "executions-resume": "executions resume X1",
    "executions-input": "executions input X1 Ann --node name",
    "executions-watch": "executions watch X1",
    "entry-points": "entry-points",
    "entry-points-stats": "entry-points stats",
    "goals": "goals",
    "goals-show": "goals helpful",
    "trigger": 'trigger nightly --input {"day":5}',
    "trigger-wait": "trigger nightly --wait --key K1",
    "events": "events --type execution_completed",
    "publish": 'publish message --id E7 --topic a.b --data {"content":"hi"}',
    "messages": "messages --state dead_lettered",
    "trace": "trace M1",
    "route-explain": "route explain vip dm 42",
    "dead-letters": "dead-letters",
    "dead-letters-retry": "dead-letters retry D1",
    "events-since": "events --since e1:1 --node writer",
    "clients": "clients",
    "clients-queues": "clients --queues",
    "topics": "topics --pattern orders.>",
    "topics-show": "topics show orders.eu",
    "topics-create": 'topics create orders.eu --metadata {"about":"orders"}',
    "topics-delete": "topics delete orders.eu",
    "topics-push": 'topics push orders.eu {"order":5} --acknowledged',
    "topics-dead-letters": "topics dead-letters --topic orders.eu",
    "topics-retry": "topics retry 7",
    "state": "state --pattern orders.>",
    "state-get": "state get orders.open --stream sales",
    "state-set": "state set orders.open 3 --expect 6 --ttl 60",
    "state-delete": "state delete orders.open",
    "token-revoke": "token revoke ci",
}


@pytest.fixture
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a command takes: no age is another, and no call out of time."""
    monkeypatch.setattr(SystemClock, "now", lambda _self: NOW)
    monkeypatch.setattr(cli, "DEFAULT_TIMEOUT", 60.0)


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("name", VERBS)
async def test_a_verb_prints_what_it_printed(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], name: str, form: str
) -> None:
    gateway.answers = everything()

    done = await ctl(capsys, "--address", gateway.address, "-o", form, *VERBS[name].split(" "))

    assert done.code == 0, done.err
    file = GOLDEN / f"{name}.{form}"
    text = _steady(done.out + (f"--- stderr\n{done.err}" if done.err else ""))
    if os.environ.get("GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


async def test_yaml_says_what_json_says(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answers = everything()

    as_yaml = await ctl(capsys, "--address", gateway.address, "-o", "yaml", "agents")
    as_json = await ctl(capsys, "agents", "--address", gateway.address, "--output", "json")

    assert yaml.safe_load(as_yaml.out) == json.loads(as_json.out)


async def test_no_colour_where_there_is_no_terminal(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answers = everything()

    done = await ctl(capsys, "--address", gateway.address, "status")

    assert "\x1b" not in done.out


async def test_what_people_wrote_cannot_move_the_cursor(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers = everything()

    done = await ctl(capsys, "--address", gateway.address, "sessions", "show", "S1")

    assert "hi\\x1b[2J" in done.out


STEADY_DAY = "2025-10-09"


def _steady(text: str) -> str:
    """Without the points in time that differ from run to run; those of the steady day stay."""
    text = re.sub(r'"time": (?!176000)\d{10}\.\d+', '"time": "<now>"', text)
    return re.sub(r"20\d\d-\d\d-\d\d[T ][0-9:.]+Z?", _when, text)


def _when(match: re.Match[str]) -> str:
    return match[0] if match[0].startswith(STEADY_DAY) else "<time>"
