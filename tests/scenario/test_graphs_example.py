"""The graph of docs/reference/graphs.md, as it stands there."""

import re
from pathlib import Path

import pytest

from tests.rigs.entry_points import execution_is
from tests.rigs.graphs import give
from tests.rigs.house import house

DOCS = Path(__file__).parents[2] / "docs"


async def test_the_documented_graph_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "reference" / "graphs.md").read_text(), re.DOTALL)
    monkeypatch.setenv("PYTHONPATH", str(DOCS / "examples"), prepend=":")
    async with house(tmp_path, config) as rig:
        opening = await rig.client.trigger_and_wait("support", "When are you open?")
        started = await rig.client.trigger("support", "refund 42 please")
        nameless = await rig.client.trigger("support", "my money")
        unclear = await rig.client.trigger("support", "hm")
        for one, node, said in (
            (started, "approve", "yes"),
            (nameless, "approve", "yes"),
            (unclear, "ask", "nothing"),
        ):
            await execution_is(rig, one.execution_id, "input_required")
            await give(rig, one.execution_id, node, said)
        refunded, failed, thanked = [
            (await execution_is(rig, one.execution_id, "succeeded")).output for one in (started, nameless, unclear)
        ]
        chat = await rig.client.send("desk", "Is it open now?")

        assert opening.output.endswith("(Europe/Berlin)")
        assert refunded.startswith("Order 42 is refunded (")
        assert failed == "Sorry. Which order? I found no number."
        assert thanked == "Thank you for: nothing"
        assert chat.content.endswith("(Europe/Berlin)")
