"""Rule: no symbol of the contract changes by accident, and the stubs are those of the contract."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("contract_lock", ROOT / "proto/lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lock_says_what_the_contract_says(lock: ModuleType) -> None:
    """If this fails and the change is meant: `python proto/lock.py --write`, and show both in the review."""
    assert lock.difference() == ""


def test_the_lock_notices_a_changed_symbol(lock: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forged = tmp_path / "lock.txtpb"
    forged.write_text(lock.render().replace('name: "correlation_id"', 'name: "correlation"', 1))
    monkeypatch.setattr(lock, "LOCK", forged)

    assert '+      name: "correlation_id"' in lock.difference()
    assert lock.main([]) == 1


def test_the_lock_knows_nothing_of_the_daemons_own_frames(lock: ModuleType) -> None:
    assert "gateway.internal" not in lock.render()


def test_no_message_of_the_contract_is_an_any_or_an_empty(lock: ModuleType) -> None:
    imported = {name for file in lock.symbols().file for name in file.dependency}

    assert not imported & {"google/protobuf/any.proto", "google/protobuf/empty.proto"}


def test_lists_are_paged(lock: ModuleType) -> None:
    fields = {
        message.name: {field.name for field in message.field}
        for file in lock.symbols().file
        for message in file.message_type
    }
    lists = {name for name in fields if name.startswith("List") and name.endswith("Request")}

    assert len(lists) >= 8
    for name in lists:
        assert {"page_size", "page_token"} <= fields[name], name
        assert "next_page_token" in fields[name.removesuffix("Request") + "Response"], name


def test_the_stubs_are_those_of_the_contract() -> None:
    if not (ROOT / ".build/protoenv/gatewayd-tools").exists():
        pytest.skip("there is no generator yet: run proto/generate.sh once")

    run = subprocess.run(["sh", ROOT / "proto/generate.sh", "--check"], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr


def test_asking_for_the_status_loads_one_small_module() -> None:
    """A cold `gatewayctl status` must not pay for the events or for the well-known types."""
    code = (
        "import sys, gateway.v1.status_pb2;"
        "print(sorted(m for m in sys.modules if m.startswith('gateway.') and m.endswith('_pb2')"
        " or m in ('google.protobuf.struct_pb2', 'google.protobuf.timestamp_pb2')))"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert out.strip() == "['gateway.v1.status_pb2']"
