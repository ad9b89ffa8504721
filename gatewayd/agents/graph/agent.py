"""An agent that is a graph: it goes from node to node, and what the last one puts out is the answer.

At the start and the completion of each node there is a checkpoint. What a node has done is not done again once its
completion is on disk; what was cut off in the middle of a node begins that node again, with the same idempotency keys.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import replace
from typing import Final

from gatewayd.agents.base import (
    AgentContext,
    AgentFailed,
    GraphOutput,
    Output,
    ReasoningOutput,
    TextOutput,
    ToolCompleted,
    ToolStarted,
    Turn,
)
from gatewayd.agents.graph.doing import Doers, NodeAgent, Try, doers_of
from gatewayd.agents.graph.handing import handed_on
from gatewayd.agents.graph.plan import Graph
from gatewayd.agents.graph.progress import Progress, Result
from gatewayd.agents.graph.scope import NodeContext, within
from gatewayd.agents.tools.registry import ToolRegistry
from gatewayd.config.graphs import NodeSection
from gatewayd.core.clock import Randomness, TimeIsOver, jittered
from gatewayd.core.errors import GatewayError
from gatewayd.providers.bounds import closing

log = logging.getLogger("gatewayd.graphs")

_BACKOFF: Final = (0.5, 30.0)
"""Seconds before the first retry of a node, and the longest before any; each waits twice as long as the one before."""
_MAX_PROMPT: Final = 16 * 1024
"""Characters of what people are asked that the event of it tells."""


class GraphAgent:
    """One graph of one configuration. One object serves all executions; an execution's state lives in its `run()`."""

    def __init__(
        self,
        graph: Graph,
        *,
        find: Callable[[str], NodeAgent],
        tools: ToolRegistry,
        randomness: Randomness,
        needed: Callable[[Collection[str]], AbstractContextManager[None]],
    ) -> None:
        """`find` gives the agent of a name as it is now; raises `GatewayError`. Within `needed` these stay at hand."""
        self._needed = needed
        self._doers: Doers | None = None
        """Those of one execution, which has begun it as a node of another graph."""
        self._graph = graph
        self._find = find
        self._tools = tools
        self._randomness = randomness

    @property
    def asks(self) -> Collection[str]:
        """See `NodeAgent`."""
        return self._doers.asks if self._doers is not None else ()

    def begun(self) -> "GraphAgent":
        """See `NodeAgent`."""
        one = copy(self)
        one._doers = self._found()
        return one

    def _found(self) -> Doers:
        names = {node.agent for node in self._graph.nodes.values() if node.agent}
        return doers_of(names, self._find, self._tools)

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        """See `Agent.run`."""
        doers = self._doers or self._found()
        progress = Progress.of(self._graph, turn.text, ctx.resumed, ctx.clock)
        walk = _Walk(self._graph, doers, progress, turn, ctx, randomness=self._randomness)
        with self._needed(doers.asks):
            async with closing(walk.outputs()) as outputs:
                async for output in outputs:
                    yield output


class _Walk:
    """One execution on its way."""

    def __init__(
        self, graph: Graph, doers: Doers, progress: Progress, turn: Turn, ctx: AgentContext, *, randomness: Randomness
    ) -> None:
        self._graph = graph
        self._doers = doers
        self._progress = progress
        self._turn = turn
        self._ctx = ctx
        self._randomness = randomness
        self._result = Result()
        self._held: Output | None = None
        """The result of a node's tool: nothing may come between it and the node's checkpoint, so that they are one
        unit, and a tool whose result is on disk is not called again."""

    async def outputs(self) -> AsyncIterator[Output]:
        progress = self._progress
        yield GraphOutput(progress.result())
        while progress.phase != "ended":
            if progress.phase == "done":
                following = self._following()
                if following is None:  # as the graph is now: after a reload and a restart an edge may be gone
                    self._end()
                    yield TextOutput(progress.last.text)
                    break
                await self._enter(following)
                yield GraphOutput(progress.result())
            self._held = None
            if progress.phase == "wait":
                self._result = Result(await self._input())
            else:
                async with closing(self._work()) as outputs:
                    async for output in outputs:
                        yield output
                if self._result.ok and self._waits and not progress.asked:
                    progress.phase, progress.prompt = "wait", self._result.text
                    if self._held is not None:
                        yield self._held
                    await self._ask()
            progress.complete(self._result)
            yield GraphOutput(progress.result())
            if self._following() is None:
                self._end()
                if not self._streams:
                    yield TextOutput(self._result.text)
            if self._held is not None:
                yield self._held
            await self._ctx.checkpoint(progress.state(), node_id=progress.at, at="complete")
        self._leave()

    @property
    def _node(self) -> NodeSection:
        return self._graph.nodes[self._progress.at]

    def _following(self) -> str | None:
        progress = self._progress
        return self._graph.after(progress.at, progress.facts()) if progress.entered else progress.at

    def _end(self) -> None:
        """The way ends here; `AgentFailed` where nothing leads on from a node that failed."""
        progress = self._progress
        if not progress.last.ok:
            self._leave()
            raise AgentFailed(progress.last.error, cause=f"the node {progress.at} failed, and no edge is for that")
        progress.phase = "ended"

    @property
    def _waits(self) -> bool:
        return self._graph.waits(self._progress.at)

    @property
    def _streams(self) -> bool:
        """Whether the text of the current node is the answer in any case, so that it need not wait for the node's end.

        Text that was put out cannot be taken back, so a node that may be tried again puts it out at the end.
        """
        return not self._graph.edges.get(self._progress.at) and not self._node.retries and not self._waits

    # Between nodes

    async def _enter(self, node_id: str) -> None:
        progress, before = self._progress, self._progress.at
        again = progress.entered and before == node_id
        if progress.entered and not again:
            self._leave()
        count = progress.enter(node_id)
        if not again:
            self._ctx.emit_node_loop_started(node_id, self._node.max_iterations)
        self._ctx.emit_node_loop_iteration(node_id, count)
        await self._ctx.checkpoint(progress.state(), node_id=node_id, at="start")

    def _leave(self) -> None:
        self._ctx.emit_node_loop_completed(self._progress.at, self._progress.visits.get(self._progress.at, 0))

    async def _ask(self) -> None:
        """Wait for input: the run ends here, and another one goes on with it."""
        progress = self._progress
        prompt = progress.prompt[:_MAX_PROMPT]
        facing = self._node.client_facing
        await self._ctx.wait_for_input(prompt, progress.state(), node_id=progress.at, client_facing=facing)

    async def _input(self) -> str:
        given = self._ctx.inputs.get(self._progress.at)
        if given is None:  # taken up without any, by a resume
            await self._ask()
        return given or ""

    # In a node

    async def _work(self) -> AsyncIterator[Output]:
        """Do the node, as often as it takes; what came of it is in `_result`."""
        progress, node = self._progress, self._node
        for number in range(node.retries + 1):
            if number:
                progress.retries += 1
                progress.said, progress.inner, progress.asked = "", None, False
                delay = min(_BACKOFF[0] * 2 ** (number - 1), _BACKOFF[1])
                await self._ctx.clock.sleep(jittered(delay, self._randomness))
            error = ""
            try:
                async with closing(self._try()) as outputs:
                    async for output in outputs:
                        yield output
            except AgentFailed as failure:
                error = str(failure) or "The node failed."
                log.info("node_failed", extra=self._fields(cause=failure.cause))
            except TimeIsOver:
                error = f"The node {progress.at} did not finish in time."
                log.info("node_failed", extra=self._fields(cause="timeout"))
            except GatewayError as failure:
                error = failure.message
                log.info("node_failed", extra=self._fields(cause=failure.reason))
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                error = self._crashed()  # nobody cancelled it: it waited for something that was cancelled
            except Exception:  # the boundary of a node's own code
                error = self._crashed()
            if error:
                self._ctx.log_step(f"failed: {error}", node_id=progress.at)
            else:
                self._result = Result(progress.said)
                return
        self._result = Result(error=error)

    async def _try(self) -> AsyncIterator[Output]:
        progress, node = self._progress, self._node
        ctx = NodeContext(self._ctx, progress.at, node, progress)
        attempt = Try(progress.at, node, progress, self._doers, self._turn, ctx)
        outputs = handed_on(
            attempt.outputs(),
            clock=ctx.clock,
            limit=attempt.limit(),
            stall=node.stall_timeout,
            touched=lambda: ctx.touched,
            stalled=self._stalled,
        )
        async with closing(outputs) as handed:
            async for output in handed:
                ctx.touched = ctx.clock.monotonic()
                if isinstance(output, TextOutput):
                    self._tell(output.content)
                    if self._streams:
                        yield output
                elif isinstance(output, ReasoningOutput):
                    self._ctx.emit_llm_reasoning_delta(output.content, node_id=progress.at)
                elif isinstance(output, ToolCompleted) and node.does == "tool" and not output.is_error:
                    self._held = self._of_node(output)
                elif isinstance(output, ToolStarted | ToolCompleted):
                    yield self._of_node(output)

    def _of_node(self, call: ToolStarted | ToolCompleted) -> Output:
        """The call with its node, and an id that no call of another step has."""
        progress = self._progress
        call_id = f"{progress.step}/{call.tool_use_id}"
        return replace(call, tool_use_id=call_id, node_id=within(progress.at, call.node_id))

    def _tell(self, content: str) -> None:
        progress = self._progress
        progress.said += content
        if self._node.client_facing:
            self._ctx.emit_client_output_delta(content, progress.shown, node_id=progress.at)
            progress.shown += len(content)
        elif self._node.does != "router" or self._node.prompt:
            self._ctx.emit_node_internal_output(progress.at, content)

    def _stalled(self) -> None:
        limit = self._node.stall_timeout or 0.0
        self._ctx.emit_node_stalled(self._progress.at, f"no progress for {limit:g} s")

    def _crashed(self) -> str:
        log.exception("node_crashed", extra=self._fields())
        return f"Something went wrong in the node {self._progress.at} (execution {self._ctx.execution_id})."

    def _fields(self, **more: str) -> dict[str, str]:
        return {
            "execution": self._ctx.execution_id,
            "graph": self._graph.name,
            "node": self._progress.at,
            **more,
        }
