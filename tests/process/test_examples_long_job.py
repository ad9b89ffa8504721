"""The long job of docs/examples: killed between two steps and in the middle of one, it ends once."""

import asyncio
import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from gatewayctl.client import event_filter

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("demo_job")


@pytest.mark.slow
async def test_the_demo_ends_once_and_each_letter_is_sent_once(
    tmp_path: Path, demo: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    async with demo.Job(tmp_path) as job:
        await demo.play(job)

        keys = [entry["key"] for entry in job.office.entries("sent")]
        asked = [entry["key"] for entry in job.office.entries("asked")]
        assert keys == [f"{job.execution}/{number}" for number in range(1, 6)]
        assert asked == [*keys[:3], *keys[2:]]
        assert "asked 6 times and has sent 5 letters" in capsys.readouterr().out

        events = await job.daemon.ctl("events", "--execution", job.execution, "--output", "json")
        kinds = [json.loads(line)["type"] for line in events.splitlines()]
        assert kinds.count("execution_completed") == 1
        assert kinds.count("execution_interrupted") == 2
        assert "execution_failed" not in kinds
        executions = json.loads(await job.daemon.ctl("executions", "--output", "json"))
        assert [each["state"] for each in executions] == ["succeeded"]


@pytest.mark.slow
async def test_who_reads_along_over_the_kill_gets_each_line_once(tmp_path: Path, demo: ModuleType) -> None:
    async with demo.Job(tmp_path) as job:
        await job.office.hold("Ben")
        await job.live()
        async with job.daemon.client("reader") as client:
            text = ""
            async with client.subscribe(event_filter(["llm_text_delta", "execution_completed"])) as events:
                await job.begin()
                await job.office.until(2)
                await job.daemon.kill()
                await job.live()
                async with asyncio.timeout(demo.DEADLINE):
                    while len(job.office.entries("asked")) < 3 or events.connects < 2:
                        await asyncio.sleep(0.05)
                    await job.office.hold(None)
                    async for event in events:
                        if event.HasField("execution_completed"):
                            break
                        assert event.llm_text_delta.offset == len(text)
                        text += event.llm_text_delta.content
        assert text == await job.ended()
        assert text.startswith("Letter 1 to Ann.\nLetter 2 to Ben.\n")
        assert len(job.office.entries("sent")) == 5


async def test_without_a_post_office_it_says_so(tmp_path: Path, demo: ModuleType) -> None:
    async with demo.Job(tmp_path) as job:
        job.daemon.environ["POST_OFFICE"] = str(tmp_path / "nowhere.sock")
        await job.live()
        await job.begin()
        with pytest.raises(demo.Failed):
            await job.ended()
        assert "The post office is closed." in json.dumps(await job.show())
