"""The rules of the house that no linter knows: who may touch the machine, how long a file may be, what is public."""

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatewayd.core.failpoints import POINTS

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "gatewayd").rglob("*.py"), *(ROOT / "gatewayctl").rglob("*.py")])
BENCHMARKS = sorted((ROOT / "bench").rglob("*.py"))
MAX_LINES = 300

OWNERS: dict[str, set[str]] = {
    # what → the modules that own it
    "time": {"gatewayd/core/clock.py", "gatewayctl/system.py"},
    "random": {"gatewayd/core/clock.py", "gatewayctl/system.py"},
    "secrets": {"gatewayd/core/clock.py", "gatewayctl/system.py", "gatewayctl/commands/token.py"},
    "uuid": set(),
    "socket": {
        "gatewayd/daemon/loop.py",
        "gatewayd/daemon/notify.py",
        "gatewayd/rpc/server.py",
        "gatewayd/channels/sim_link.py",
    },
    "subprocess": {"gatewayctl/checker.py"},
    "sqlite3": set(),  # gatewayd/storage/sqlite, below
}
OPENERS = {"gatewayd/core/disk.py", "gatewayd/daemon/lock.py", "gatewayd/storage/migrate.py", "gatewayd/plugins.py"}
"""The last two read what was installed as code is: our numbered .sql files, and the lists of plugins."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def production() -> list[Path]:
    return [path for path in SOURCES if "testing" not in path.parts]


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", production(), ids=name_of)
def test_only_the_owner_of_a_thing_of_the_machine_imports_it(path: Path) -> None:
    """Time, chance, sockets and children enter through their owners, so that a test can take their place."""
    allowed_sqlite = name_of(path).startswith("gatewayd/storage/")
    for module in imports(ast.parse(path.read_text())):
        if module == "sqlite3" and allowed_sqlite:
            continue
        if module in OWNERS:
            assert name_of(path) in OWNERS[module], f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", production(), ids=name_of)
def test_nobody_opens_files_or_asks_the_wall_clock_behind_its_owners_back(path: Path) -> None:
    """`open`, `datetime.now` and their like are calls that an import does not show."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        where = f"{name_of(path)}:{node.lineno} calls {called}"
        assert called not in {"datetime.now", "datetime.utcnow", "date.today", "datetime.datetime.now"}, where
        if called in {"open", "io.open", "os.fdopen"} or called.endswith((".read_text", ".read_bytes", ".write_text")):
            assert name_of(path) in OPENERS or name_of(path).startswith("gatewayctl/"), where


@pytest.mark.parametrize("path", [*SOURCES, *BENCHMARKS], ids=name_of)
def test_a_file_holds_one_idea(path: Path) -> None:
    """At most 300 lines; a longer one says why in its docstring (`Longer than 300 lines because …`)."""
    text = path.read_text()
    lines = text.count("\n")
    reason = ast.get_docstring(ast.parse(text)) or ""
    assert lines <= MAX_LINES or "Longer than 300 lines because" in reason, f"{name_of(path)} has {lines} lines"


def test_the_median_file_is_short() -> None:
    """Near 130 lines, `__init__` files aside."""
    lengths = [path.read_text().count("\n") for path in SOURCES if path.name != "__init__.py"]

    assert 80 <= statistics.median(lengths) <= 150


@pytest.mark.parametrize("path", [path for path in [*SOURCES, *BENCHMARKS] if path.name != "__init__.py"], ids=name_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    """A docstring of its own."""
    assert ast.get_docstring(ast.parse(path.read_text())), f"{name_of(path)} has no docstring"


@pytest.mark.parametrize("path", production(), ids=name_of)
def test_every_task_has_an_owner(path: Path) -> None:
    """Tasks are born in a `TaskSet` or awaited where they are made; a bare `ensure_future` has no owner."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert "ensure_future" not in called, f"{name_of(path)}:{node.lineno}"
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            called = ast.unparse(node.value.func)
            assert not called.endswith("create_task") or called.startswith(("group.", "tasks.", "sends.")), (
                f"{name_of(path)}:{node.lineno} drops its task"
            )


def test_every_failpoint_is_known_and_every_known_one_is_hit() -> None:
    """A point that the code misspells, or has lost, would leave a crash unproved."""
    hit = {
        node.args[0].value
        for path in production()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("failpoints.hit")
        and isinstance(node.args[0], ast.Constant)
    }

    assert hit == set(POINTS)


def test_a_start_imports_neither_pydantic_nor_litellm() -> None:
    """They cost more than all else: whoever needs a model beyond the daemon pays for them then (docs/adr/0013)."""
    code = (
        "import sys, gatewayd.daemon.gateway\n"
        "from pathlib import Path\n"
        "from gatewayd.agents.tools.functions import FunctionTool\n"
        "from gatewayd.agents.tools.builtin import current_time\n"
        "from gatewayd.channels.local import LocalSettings\n"
        "from gatewayd.channels.sim import SimSettings\n"
        "from gatewayd.config.loader import load\n"
        "FunctionTool(current_time)\n"
        "found = load(Path('packaging/gateway.quickstart.yaml').read_bytes(), name='gateway.yaml',\n"
        "    settings_for={'local': LocalSettings, 'sim': SimSettings}.get, environ={}, read_file=lambda *_: b'')\n"
        "assert found.config.channels and found.config.agents\n"
        "heavy = {'pydantic', 'pydantic_core', 'litellm', 'aiohttp'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


def test_a_start_imports_nothing_that_few_need() -> None:
    """Each is loaded by who needs it: a flag, a schedule, a mistake, a question."""
    code = (
        "import sys\n"
        "from gatewayd import cli\n"
        "cli.main(['--config', '/nowhere/gateway.yaml'])\n"
        "import gatewayd.daemon.gateway, gatewayd.channels.sim\n"
        "few = {'difflib', 'shutil', 'tempfile', 'importlib.resources', 'zoneinfo', 'croniter', 'grpc_channelz',\n"
        "    'grpc_reflection.v1alpha', 'google.protobuf.json_format', 'gateway.v1.admin_service_pb2_grpc'}\n"
        "few &= set(sys.modules)\n"
        "assert not few, few\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
