"""The reader of a quick status agrees with the generated module, and the quick path stays quick."""

import json
import random
import subprocess
import sys

import pytest
from gateway.v1 import status_pb2

from gatewayctl import quick
from gatewayctl.plain import plain

BEYOND = {"connections", "agents", "sessions", "executions", "channels", "degraded", "webhooks"}
HEAVY = ("google.protobuf", "yaml", "dataclasses", "json", "gateway.v1", "gatewayctl.plain", "gatewayctl.client")


def test_the_table_names_the_fields_of_the_contract() -> None:
    """Every field of the answer is in the table, or is one that the quick form leaves empty."""
    fields = {field.number: field.name for field in status_pb2.GetStatusResponse.DESCRIPTOR.fields}

    assert {number: name for number, (name, _) in quick.GET_STATUS.items()} == {
        number: name for number, name in fields.items() if name not in BEYOND
    }
    outcome = {field.number: field.name for field in status_pb2.ReloadOutcome.DESCRIPTOR.fields}
    assert {number: name for number, (name, _) in quick.RELOAD_OUTCOME.items()} == outcome
    states = [value.name for value in status_pb2.DaemonState.DESCRIPTOR.values][1:]
    assert [f"DAEMON_STATE_{name.upper()}" for name in quick.DAEMON_STATES[1:]] == states
    request = status_pb2.GetStatusRequest(daemon_only=True)
    assert request.SerializeToString() == quick.DAEMON_ONLY


def test_it_reads_what_the_generated_module_reads() -> None:
    chance = random.Random(7)
    for _ in range(300):
        message = status_pb2.GetStatusResponse(
            pid=chance.choice([0, 1, 4194304, 2**31 - 1]),
            version=chance.choice(["", "0.1.0", "é" * 200]),
            state=chance.randrange(5),
            start_time=chance.choice([0.0, 1.76e9 + chance.random()]),
            uptime=chance.random() * 1e6,
            config_digest=chance.choice(["", "ab" * 32]),
            config_path="/etc/x",
        )
        if chance.random() < 0.5:
            message.last_reload.CopyFrom(
                status_pb2.ReloadOutcome(
                    time=chance.random(), ok=chance.random() < 0.5, error="x" * chance.randrange(300)
                )
            )
        if chance.random() < 0.5:
            message.connections.open = 3
            message.channels.add(name="tg")

        expected = {name: value for name, value in plain(message).items() if name not in BEYOND}

        assert quick.read(message.SerializeToString()) == expected


@pytest.mark.parametrize("data", [b"\x08", b"\x12\x05ab", b"\x21\x00", b"\x0b", b"\x08" + b"\xff" * 12])
def test_what_is_no_message_is_an_error_of_its_own(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"wire type|ends too early|does not end"):
        quick.read(data)


def test_the_quick_path_imports_nothing_heavy() -> None:
    """Beside grpc itself: no protobuf runtime, no YAML, no SDK."""
    code = (
        "import sys, json; from gatewayctl.cli import main;"
        "code = main(['status', '--daemon-only', '--address', 'unix:/nonexistent/x', '--help']);"
        "import gatewayctl.rpc, gatewayctl.quick, gatewayctl.address, gatewayctl.credentials;"
        f"print(sorted(each for each in {HEAVY!r} if each in sys.modules and each != 'json'), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert json.loads(done.stderr.replace("'", '"')) == []
