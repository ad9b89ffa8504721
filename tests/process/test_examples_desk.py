"""The support desk of docs/examples, as its demo runs it: on the real daemon, and over a kill in the middle."""

import asyncio
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("demo_desk")


def told(lines: str, who: str) -> list[str]:
    """What somebody does in the story, line breaks taken out."""
    story = re.sub(r"\n {28,}", " ", lines)
    return re.findall(rf"^ *\d+\.\d\d s  (?:ticket \d| {{8}})  {who} +(.*)$", story, re.MULTILINE)


@pytest.mark.slow
def test_the_demo_tells_its_story_and_ends_with_0() -> None:
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo_desk.py")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )

    assert (run.returncode, run.stderr) == (0, ""), run.stdout + run.stderr
    out = run.stdout
    assert told(out, "stranger") == ["is refused: 401, and nothing is written down."]
    assert len(told(out, "shop")) == 4
    assert told(out, "billing") == ["finds: “You paid 19.90 € for order 42.”"]
    assert len(told(out, "shipping")) == 2
    assert told(out, "refund") == ["has paid, and has written it into the books."]
    assert [line for line in told(out, "board") if "hands" in line or "nothing" in line] == [
        "hands over 2 findings.",
        "hands over 1 finding.",
        "has heard nothing.",
    ]
    assert sorted(re.findall(r"^  \d\. (.*)$", out, re.MULTILINE)) == [
        "Hello Ann! You paid 19.90 € for order 42. About your parcel: it was damaged on its way. "
        "We pay 19.90 € back to you.",
        "Hello Ben! About your parcel: it arrives tomorrow.",
        "Hello Cid, we sell none, but thank you for asking.",
    ]
    assert "3 tickets, 3 answers, 1 refund: 19.90 € for order 42." in out
    assert not re.search(r"[{}\\]", out), "no JSON is for people"


async def test_a_person_says_no_and_each_ticket_is_answered_once(tmp_path: Path, demo: ModuleType) -> None:
    story: list[str] = []
    async with demo.Office(tmp_path, story.append) as office:
        assert await office.ticket(*demo.ANN) == 202
        assert (await office.story.question(1)).prompt.endswith("Refund 19.90 € to Ann? (yes or no)")
        await office.daemon.kill()
        await office.daemon.start()
        assert await office.ticket(*demo.ANN) == 202
        await office.decide(1, "no")

        assert await office.heard(1) == ["Hello Ann! We are sorry that we cannot pay it back."]
        assert await office.ticket(9, "Zoë", "42", "My parcel never came: a refund, please!") == 202
        await office.decide(9, "yes")
        await office.story.answer(9)
        assert len(await office.heard(2)) == 2
        assert office.story.answers.keys() == {1, 9}
        assert [entry["order"] for entry in office.paid()] == ["42"]
    assert any("$ gatewayctl executions input" in line for line in story)


async def test_many_tickets_at_once_do_not_mix(tmp_path: Path, demo: ModuleType) -> None:
    async with demo.Office(tmp_path, lambda _line: None) as office:
        await asyncio.gather(
            *(office.ticket(number, f"C{number}", "17", "Where is my parcel?") for number in range(1, 21))
        )
        for number in range(1, 21):
            assert await office.story.answer(number) == f"Hello C{number}! About your parcel: it arrives tomorrow."
        assert len(set(await office.heard(20))) == 20


async def test_what_fails_is_seen_to_by_people(tmp_path: Path, demo: ModuleType) -> None:
    async with demo.Office(tmp_path, lambda _line: None) as office:
        assert await office.shop().send({"ticket": "no number", "customer": "Ann", "text": "Help"}) == 202
        asked = await office.story.question("no number")
        assert asked.prompt == "What do we say to Ann, who writes: “Help” That was no ticket."
        await office.decide("no number", "please call us.")
        assert await office.heard(1) == ["Hello Ann, please call us."]


async def test_a_daemon_that_does_not_start_is_a_clear_failure(tmp_path: Path, demo: ModuleType) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text("agents: {triage: {class: 'desk.triage:Nobody'}}\n")
    running = importlib.import_module("running")
    with pytest.raises(demo.Failed, match=r"(?s)exit code 78.*gateway\.yaml:1:\d+: agents\.triage"):
        async with running.Running(tmp_path, config):
            raise AssertionError("it has started")
