"""Each broken file has a golden beside it: exactly what `gatewayd --check` prints."""

import re
from pathlib import Path

import pytest
from config_rig import ROOT, lines, quick

BROKEN = sorted((ROOT / "config" / "broken").glob("*.yaml"))
GOOD = sorted((ROOT / "config" / "good").glob("*.yaml"))
LINE = re.compile(r"[\w.-]+\.yaml:[1-9][0-9]*:[1-9][0-9]*: \S.*\Z")


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_F01_a_broken_file_is_explained_as_its_golden_says(file: Path) -> None:
    printed = lines(file.read_bytes(), name=file.name)

    assert printed == file.with_suffix(".golden").read_text().splitlines()


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_F01_every_line_says_where_and_shows_nothing_that_a_terminal_obeys(file: Path) -> None:
    printed = file.with_suffix(".golden").read_text().splitlines()

    assert printed
    assert all(LINE.match(line) or line.startswith("there are more than") for line in printed)
    assert all(line.isprintable() for line in printed)


def test_the_collection_is_as_large_as_was_promised() -> None:
    kinds = {re.sub(r"'[^']*'|[0-9]+|\(.*", "", line.split(": ", 2)[-1]) for file in BROKEN for line in _golden(file)}

    assert len(BROKEN) >= 100
    assert len(kinds) >= 40


def _golden(file: Path) -> list[str]:
    return file.with_suffix(".golden").read_text().splitlines()


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_a_good_file_has_no_problem(file: Path) -> None:
    assert lines(file.read_bytes(), name=file.name) == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"x" * 10_000_000, "the file has 10000000 bytes"),
        (b"[" * 100_000, "nested deeper than 32 levels"),
        (b"a: " + b"{a: " * 100_000, "nested deeper than 32 levels"),
        (b"- " * 100_000, "nested deeper than 32 levels"),
        (b"? " * 100_000, "nested deeper than 32 levels"),
        (b"- x\n" * 200_000, "more than 20000 values"),
        (b"a: &a [" + b"*a, " * 15_000 + b"]", "anchors and aliases are off"),
        (b"".join(b"k%d: v\n" % n for n in range(9_000)), "unknown key"),
        (b"a: 1\n" * 9_000, "given twice"),
        (b"agents: {a: {model: x, tools: [" + b"t, " * 15_000 + b"]}}", "a list of 15000"),
        (b"clients: {a: {scopes: [" + b'"${X}", ' * 15_000 + b"]}}", "a list of 15000"),
        (b"agents: {a: {tools: [" + b'"${X}", ' * 2_000 + b"]}, b: {x: 1}}", "unknown key"),
        (b"agents:\n" + b"".join(b" k%d: {model: x}\n" % n for n in range(4_000)), "at most 2000 are taken"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_F06_a_hostile_file_is_refused_at_once(text: bytes, wanted: str) -> None:
    with quick():
        printed = lines(text)

    assert any(wanted in line for line in printed)
