"""Unknown keys, wrong values, duplicates, hostile bytes, tags and references: for each key, not for examples only."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from config_rig import lines, quick
from hypothesis import given, settings
from hypothesis import strategies as st
from test_config_model import ARRIVES, BASE

AGENT = b"agents: {a: {model: offline/assistant}}\n"
NUMBERS = sorted(
    path for path, (_, value) in ARRIVES.items() if isinstance(value, int | float) and not isinstance(value, bool)
)


def told(path: str, value: object, *, key: str = "") -> list[str]:
    """The problems of a configuration with that value under that path; `key` replaces its last part."""
    *around, last = path.split(".")
    tree: dict[str, Any] = copy.deepcopy(BASE)
    node = tree
    for step in around:
        node = node.setdefault(step, {})
    node[key or last] = value
    return lines(yaml.safe_dump(tree))


@pytest.mark.parametrize("path", [path for path in ARRIVES if ".options." not in path])
def test_F02_a_misspelled_key_is_refused_with_the_right_one(path: str) -> None:
    """Never ignored, wherever it stands."""
    around, _, key = path.rpartition(".")
    wrong = key[:2] + key[1:]
    what = rf"unknown key \(did you mean {key}\?|'{wrong}' is not one of .*\(did you mean {key}\?"

    assert any(
        re.search(rf"^gateway\.yaml:\d+:\d+: {around}\.{wrong}: (?:{what})", line) for line in told(path, 1, key=wrong)
    )


_WRONG: st.SearchStrategy[object] = st.one_of(
    st.integers(max_value=-1),
    st.floats(max_value=-0.001, allow_nan=False, allow_infinity=False),
    st.integers(min_value=10**15, max_value=10**17),
    st.booleans(),
    st.sampled_from(["abc", "-1s", "1 parsec", "1e", [], {}, [1], {"a": 1}]),
)


@settings(max_examples=300)
@given(path=st.sampled_from(NUMBERS), value=_WRONG)
def test_F03_a_number_that_is_none_is_told_with_its_path_kind_and_range(path: str, value: object) -> None:
    (line,) = told(path, value)

    place = r"^gateway\.yaml:\d+:\d+: "
    if "number is too large" not in line:
        kinds = r"(?:whole number|number|duration|size) from \S+ to \S+"
        assert re.search(rf"{place}{re.escape(path)}: .+ is not a {kinds}", line), line


@pytest.mark.parametrize("path", NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_F03_what_is_no_finite_number_is_told_with_its_path(path: str, value: float) -> None:
    (line,) = told(path, value)

    assert f"{path}: only finite numbers are values" in line


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("gateway:\n  port: 1\n  port: 2\n", "2, column 3", "3:3: gateway.port"),
        ("agents:\n  a: {model: m}\n  a: {model: m}\n", "2, column 3", "3:3: agents.a"),
        ("agents: {a: {model: m}}\nagents: {}\n", "1, column 1", "2:1: agents"),
        ("channels:\n  c: {}\n  c: {}\n", "2, column 3", "3:3: channels.c"),
        ("clients:\n  k: {}\n  k: {}\n", "2, column 3", "3:3: clients.k"),
        ("channels:\n  c: {platform: sim, routing: {dm: a, dm: b}}\n", "2, column 32", "2:39: channels.c.routing.dm"),
    ],
)
def test_F04_a_duplicate_is_refused_with_both_places(text: str, first: str, second: str) -> None:
    wanted = f"gateway.yaml:{second}: the key is given twice: first in line {first} (keep one of them)"

    assert wanted in lines(text)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("'${UNSET}'", "${UNSET} is unset or empty"),
        ("'${EMPTY}'", "${EMPTY} is unset or empty"),
        ("'${A:-${B}}'", "a variable inside a variable"),
        ("'${A${B}}'", "${"),
    ],
)
def test_F05_a_variable_at_a_door_is_refused_and_named(written: str, said: str) -> None:
    (line,) = lines(f"gateway: {{auth_token: {written}}}\n".encode() + AGENT)

    assert line.startswith("gateway.yaml:1:23: gateway.auth_token: ")
    assert said in line


BOMB = b"a: &a [x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (n, n, b", ".join([b"*%c" % (n - 1)] * 9)) for n in b"bcdefghij"
)
HOSTILE = {
    "alias bomb": (BOMB, "anchors and aliases are off"),
    "10 MB": (AGENT + b"#" + b"x" * 10_000_000, "at most 1048576 are read"),
    "10 MB of keys": (b"k: v\n" * 2_000_000, "at most 1048576 are read"),
    "depth of blocks": (b"".join(b" " * n + b"a:\n" for n in range(1_000)), "nested deeper than 32 levels"),
    "depth of lists": (b"[" * 100_000 + b"]" * 100_000, "nested deeper than 32 levels"),
    "depth of mappings": (b"{a: " * 100_000 + b"}" * 100_000, "nested deeper than 32 levels"),
    "NUL": (AGENT + b"gateway: {host: 'a\0b'}\n", "2:19: control character U+0000"),
    "many NULs": (b"\0" * 1_000_000, "1:1: control character U+0000"),
    "BOM": (b"\xef\xbb\xbf" + AGENT, "byte order mark of UTF-8"),
    "Latin-1": (b"agents:\n  a: {model: offline/echo, role: Caf\xe9}\n", "2:37: byte 0xe9 is not UTF-8"),
    "tabs": (b"agents:\n\ta: {model: offline/echo}\n", "2:1: a tab in the indentation"),
    "many tabs": (b"agents:\n" + b"\t" * 500_000 + b"a: b\n", "2:1: a tab in the indentation"),
    "CRLF": (AGENT.replace(b"\n", b"\r\n") + b"gateway:\r\n  prot: 1\r\n", "3:3: gateway.prot: unknown key"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_F06_hostile_bytes_cost_little_time_and_memory(name: str) -> None:
    """200 ms of processor time and 50 MB of resident memory at the most, and one clear error."""
    text, wanted = HOSTILE[name]
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: proc(5)
    before = _resident("VmRSS")

    with quick():
        printed = lines(text)

    assert _resident("VmHWM") - before < 50_000
    assert any(wanted in line for line in printed), printed
    assert all(line.isprintable() for line in printed)


def test_F06_windows_line_ends_alone_are_no_fault() -> None:
    assert lines(AGENT.replace(b"}\n", b"}\r\n")) == []


def _resident(field: str) -> int:
    """KiB of this process's memory."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.mkdir [PLACE]",
        "!!python/object/new:os.mkdir [PLACE]",
        "!!python/object:os.mkdir {path: PLACE}",
        "!!python/name:os.mkdir ''",
        "!!python/module:os ''",
        "!<tag:yaml.org,2002:python/object/apply:os.mkdir> [PLACE]",
        "!!map {a: b}",
        "!own x",
    ],
)
@pytest.mark.parametrize("around", ["TAG", "agents: {a: {model: TAG}}", "agents: {? TAG : {model: m}}", "x: [TAG]"])
def test_F07_no_tag_is_obeyed(tag: str, around: str, tmp_path: Path) -> None:
    place = tmp_path / "made"

    printed = lines(around.replace("TAG", tag.replace("PLACE", str(place))))

    assert any("tags are off" in line or "key is not text" in line for line in printed), printed
    assert not place.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("channels: {sim: {routing: {default: ghost}}}", "routing.default: there is no agent ghost (known agents: a)"),
        ("channels: {c: {platform: fax, routing: {dm: a}}}", "no platform fax (known platforms: local, needy, sim)"),
        ("agents: {b: {model: offline/echo, tools: [shell]}}", "no tool shell (known tools: current_time, remember)"),
    ],
)  # fmt: skip
def test_F08_what_is_named_and_absent_is_told_with_what_there_is(text: str, said: str) -> None:
    merged = {**yaml.safe_load(AGENT), **yaml.safe_load(text)}

    assert any(said in line for line in lines(yaml.safe_dump(merged, sort_keys=True)))
