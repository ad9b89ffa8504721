"""A run of the benchmarks tells what it has measured, whether or not it comes to its end."""

from pathlib import Path

import pytest

from bench import run
from bench.processes import WrongAnswer
from bench.report import Row

BEFORE = "what was measured before"


def row(what: str) -> list[Row]:
    return [Row(what, "7 /s", "a peer 5 /s", 1.4, "≥ 1×", True)]


def wrong() -> list[Row]:
    raise WrongAnswer("two of one")


def broken() -> list[Row]:
    raise TypeError("no such argument")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    page = tmp_path / "RESULTS.md"
    page.write_text(BEFORE)
    monkeypatch.setattr(run, "RESULTS", page)
    return page


def measured(monkeypatch: pytest.MonkeyPatch, *order: str, **parts: run.Measure) -> int:
    monkeypatch.setattr(run, "parts_of", lambda _quick, _with_peers: parts)
    return run.main(order)


@pytest.mark.parametrize(("fails", "why"), [(wrong, "two of one"), (broken, "TypeError: no such argument")])
def test_a_part_that_fails_leaves_what_was_measured_before_it_and_no_page(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: run.Measure, why: str
) -> None:
    parts = {"start": lambda: row("one"), "durable": fails, "filters": lambda: row("three")}

    assert measured(monkeypatch, **parts) == 1

    told = capsys.readouterr()
    assert "one: met" in told.out
    assert "three" not in told.out + told.err
    assert f"WRONG: part durable failed, and what comes behind it was not measured: {why}" in told.err
    assert results.read_text() == BEFORE


def test_each_row_is_told_when_its_part_is_measured_and_again_at_the_end(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def second() -> list[Row]:
        so_far = capsys.readouterr()
        assert "one: 7 /s, 1.40×, met" in so_far.err
        assert not so_far.out
        return row("two")

    assert measured(monkeypatch, start=lambda: row("one"), chat=second) == 0

    assert "one: met" in (said := capsys.readouterr().out)
    assert "two: met" in said
    assert "| one | 7 /s | a peer 5 /s | 1.40× |" in results.read_text()


@pytest.mark.parametrize("order", [("--quick",), ("--only", "start")])
def test_a_quick_or_a_partial_run_writes_nothing(
    results: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...]
) -> None:
    assert measured(monkeypatch, *order, start=lambda: row("one"), chat=lambda: row("two")) == 0

    assert results.read_text() == BEFORE
