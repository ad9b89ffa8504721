"""The programs of docs/reference/addressing.md, as they stand there."""

import ast
import asyncio
import inspect
import re
from pathlib import Path

import pytest

from tests.rigs.house import House, eventually, house
from tests.rigs.working import workers_of

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "addressing.md"


async def run(program: str) -> None:
    """As a module whose top level may await."""
    made = eval(compile(program, str(PAGE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), {"__name__": "example"})
    assert inspect.isawaitable(made)
    await made


async def test_the_documented_question_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The question waits for the worker; a message to the same agent is a call."""
    text = PAGE.read_text()
    (config,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    worker, asker = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    rig: House
    async with house(tmp_path, config) as rig, asyncio.timeout(120):
        monkeypatch.setenv("GATEWAYD_ADDRESS", rig.daemon.address)
        working = asyncio.create_task(run(worker))

        async def there() -> bool:
            return working.done() or await workers_of(rig, "stock") == 1

        await eventually(there)
        await run(asker)
        reply = await rig.client.send("stock", "tea")
        working.cancel()
        await asyncio.wait([working])

    assert working.cancelled()
    assert capsys.readouterr().out == "tea: 12\n"
    assert reply.content == "There are 12."
