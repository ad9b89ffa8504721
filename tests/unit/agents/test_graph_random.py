"""Graphs of all shapes, cut off at each of their checkpoints: what goes on ends as if nothing had happened."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from graph_rig import NodeTeller, Rig, says

from gatewayd.agents.base import AgentFailed

NODES = "abcdef"
CONDITIONS = ("success", "failure", "output.n < 5", "output.n >= 5", "visits < 3", "always", "memory.a.n == output.n")


@dataclass
class Counting(NodeTeller):
    """A context that knows how much had been done at each checkpoint."""

    done: list[str] = field(default_factory=list)
    marks: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)

    async def checkpoint(
        self, state: Mapping[str, Any], *, node_id: str = "", at: Literal["start", "complete"] = "complete"
    ) -> None:
        await NodeTeller.checkpoint(self, state, node_id=node_id, at=at)
        self.marks.append((len(self.done), self.checkpoints[-1][2]))


def graph_of(chance: random.Random) -> str:
    edges = [
        f"  - {{from: {source}, to: {chance.choice(NODES)}, when: {chance.choice(CONDITIONS)}}}"
        for source in NODES
        for _ in range(chance.randint(0, 3))
    ]
    nodes = ", ".join(
        f"{node}: {{agent: {node}, max_iterations: {chance.randint(1, 4)}, retries: {chance.randint(0, 1)}}}"
        for node in NODES
    )
    return f"entry_node: a\nnodes: {{{nodes}}}\nedges:\n" + ("\n".join(edges) or "  []")


async def outcome(rig: Rig, ctx: Counting) -> str:
    try:
        return await rig.run(ctx)
    except AgentFailed as failure:
        return f"failed: {failure}"


@pytest.mark.parametrize("seed", range(60))
async def test_cut_off_anywhere_it_ends_the_same_and_nothing_complete_is_done_twice(seed: int) -> None:
    chance = random.Random(seed)
    rig = Rig(graph_of(chance))
    done: list[str] = []
    grudges = {node for node in NODES if chance.random() < 0.2}
    """Agents that always fail."""

    def answer(node: str, text: str) -> str:
        done.append(node)
        if node in grudges:
            raise AgentFailed(f"{node} does not want to")
        return f'{{"n": {(sum(map(ord, text)) + ord(node)) % 10}}}'

    for node in NODES:
        rig.agents[node] = says(lambda text, node=node: answer(node, text))
    whole = Counting(rig.clock, done=done)
    wanted, everything = await outcome(rig, whole), []
    everything += done

    for count, state in whole.marks:
        done.clear()
        ended = state["phase"] == "ended"
        again = await outcome(rig, Counting(rig.clock, resumed=state, done=done))

        assert done == everything[count:]
        assert again == ("" if ended else wanted), "what had been put out is restored by the runtime"
