"""The checkpoints of one run of an agent, and its leaving at one of them."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from gatewayd.agents.base import Suspended
from gatewayd.config.entry_points import CheckpointsSection
from gatewayd.core.checkpoint import Checkpoint, CheckpointKind, Question, Restart, state_text
from gatewayd.core.clock import Clock, Randomness, jittered
from gatewayd.core.errors import GatewayError, InvalidArgument, StoreBusy, StoreFull
from gatewayd.core.event import Event, EventType
from gatewayd.core.execution_log import LogKind
from gatewayd.core.work import Execution, ExecutionState
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.execution_log import ExecutionLog
from gatewayd.runtime.live import LiveExecution
from gatewayd.storage.base import Store
from gatewayd.storage.checkpoints import CheckpointWrite
from gatewayd.storage.records import OutboxRow
from gatewayd.wire import with_wire

_logger = logging.getLogger("gatewayd.runtime")

Prompt = Callable[[Execution, str, float], tuple[OutboxRow, ...]]
"""Makes rows for the chat of an execution of what that asks there; none where nobody could answer."""
_KEPT = "The agent {} is not available right now. What it has done is kept, and it will go on from there."
_RETRY = 1.0
"""Seconds between two tries to write a checkpoint while the store is busy or full."""


async def patiently(write: Callable[[], Awaitable[None]], clock: Clock, randomness: Randomness, execution: str) -> None:
    """Write it, however long the store is busy; who has a deadline cuts this off."""
    while True:
        try:
            return await write()
        except (StoreBusy, StoreFull) as error:
            _logger.warning("checkpoint_waits", extra={"execution": execution, "reason": error.reason})
            await clock.sleep(jittered(_RETRY, randomness))


class Leaving:
    """See `AgentContext.checkpoint` and `AgentContext.wait_for_input`."""

    def __init__(
        self,
        live: LiveExecution,
        restart: Restart,
        *,
        store: Store,
        events: ExecutionEvents,
        clock: Clock,
        randomness: Randomness,
        settings: CheckpointsSection,
        log: ExecutionLog,
        check_rest: Callable[[], None],
        prompt: Prompt,
    ) -> None:
        self._live = live
        self._run = live.run
        self._store = store
        self._events = events
        self._clock = clock
        self._randomness = randomness
        self._settings = settings
        self._log = log
        self._check_rest = check_rest
        self._prompt = prompt
        self.restart = restart
        self.place = restart.checkpoint.id if restart.checkpoint is not None else ""
        """The checkpoint from which it would go on."""
        self.inputs: Mapping[str, str] = dict(restart.inputs)

    async def checkpoint(self, state: Mapping[str, Any], node_id: str, kind: CheckpointKind) -> None:
        """Write it if it is wanted, or if the run is to pause, which ends here."""
        self.check_there()
        live, wanted = self._live, self._settings
        asked = wanted.on_node_start if kind is CheckpointKind.START else wanted.on_node_complete
        if not live.pause_reason and not (wanted.enabled and asked):
            state_text(state)
            for call_id, event in live.take_held():
                await asyncio.shield(self._store.complete_call(live.execution.id, call_id, [event]))
            return
        if not live.pause_reason:
            await self._write(state, node_id, kind)
            self.check_there()
            return
        reason = live.pause_reason
        told = self._events.make(live.execution, EventType.EXECUTION_PAUSED, {"reason": reason})
        await self._write(state, node_id, kind, leaves_as=ExecutionState.PAUSED, reason=reason, events=(told,))
        raise Suspended

    async def wait(self, prompt: str, state: Mapping[str, Any], node_id: str, *, client_facing: bool) -> NoReturn:
        """Write it and end the run until input comes."""
        self.check_there()
        if not client_facing and not node_id:
            raise InvalidArgument("a node that does not face the client has an id")
        self._check_rest()
        kind = EventType.CLIENT_INPUT_REQUESTED if client_facing else EventType.NODE_INPUT_BLOCKED
        now, execution = self._clock.now(), self._live.execution
        asked = self._prompt(execution, prompt, now) if client_facing else ()
        question = Question(execution.id, node_id, prompt, now)
        told = with_wire(self._events.make(self._live.execution, kind, {"prompt": prompt}, node_id=node_id))
        await self._write(
            state,
            node_id,
            CheckpointKind.WAIT,
            prompt=prompt,
            leaves_as=ExecutionState.INPUT_REQUIRED,
            reason=f"waits for input at {node_id}" if node_id else "waits for input",
            events=(told,),
            question=question if asked else None,
            outbox=asked,
        )
        self._live.question = question if client_facing else None
        raise Suspended

    async def stay(self, agent: str) -> None:
        """Rest as paused where the run came back from, with its input, if nothing has come of it; else go on here.

        `agent` is that of which no worker is there. When one is, the execution goes on by itself, unless somebody
        wants it to pause. A chat is told once, however often a worker comes and goes before there is more of it.
        """
        last, pause = self.restart.checkpoint, self._live.pause_reason
        why = pause or f"no worker of {agent} is there; it goes on when one is"
        if last is None or last.kind is CheckpointKind.GIVEN or (self.place, self._live.text) != (last.id, last.output):
            return
        self.check_there()
        self._check_rest()
        told = self._events.make(self._live.execution, EventType.EXECUTION_PAUSED, {"reason": why})
        said = _KEPT.format(agent)
        is_known = last.prompt == said
        await self._write(
            json.loads(last.state),
            last.node_id,
            last.kind,
            prompt=said,
            leaves_as=ExecutionState.PAUSED,
            reason=why,
            awaits="" if pause else agent,
            events=(told,),
            outbox=() if is_known else self._prompt(self._live.execution, said, self._clock.now()),
            consumed=(),
        )
        raise Suspended

    async def _write(
        self,
        state: Mapping[str, Any],
        node_id: str,
        kind: CheckpointKind,
        *,
        prompt: str = "",
        leaves_as: ExecutionState | None = None,
        reason: str = "",
        awaits: str = "",
        events: tuple[Event, ...] = (),
        question: Question | None = None,
        outbox: tuple[OutboxRow, ...] = (),
        consumed: tuple[str, ...] | None = None,
    ) -> None:
        """`consumed`: the nodes whose input it takes as read; None for all."""
        live = self._live
        text = state_text(state)
        made = Checkpoint(
            self._events.ids.new(), live.execution.id, node_id, kind, text, live.text, self._clock.now(), prompt
        )
        self._log.note(LogKind.LEFT if leaves_as else LogKind.CHECKPOINT, reason or kind.value, node_id)
        held = live.take_held()
        write = CheckpointWrite(
            made,
            keep=self._settings.max_count,
            consumed=tuple(self.inputs) if consumed is None else consumed,
            completed=tuple(call_id for call_id, _ in held),
            leaves_as=leaves_as,
            reason=reason,
            awaits=awaits,
            log=tuple(live.log),
            events=(*(event for _, event in held), *events),
            question=question,
            outbox=outbox,
        )
        try:
            await patiently(lambda: self._submit(write), self._clock, self._randomness, live.execution.id)
        except GatewayError:
            live.held = held
            raise
        self.inputs, self.place = {}, made.id
        while live.log and live.log[0] in write.log:
            live.log.popleft()

    async def _submit(self, write: CheckpointWrite) -> None:
        """Whoever cuts the run off meanwhile does not cut off the unit: from its submission on, the run has left."""
        if write.awaits and (pause := self._live.pause_reason):  # somebody asked for it while the store was busy
            told = self._events.make(self._live.execution, EventType.EXECUTION_PAUSED, {"reason": pause})
            write = replace(write, awaits="", reason=pause, events=(*write.events, told))
        self._live.leaving, self._live.awaits = write.leaves_as, write.awaits
        try:
            self._live.leaving_unit = unit = self._store.save_checkpoint(write)
            if write.outbox:
                unit.add_done_callback(lambda done: self._asked(done, write.outbox))
            await asyncio.shield(self._live.leaving_unit)
        except GatewayError:
            self._live.leaving = None
            raise

    def _asked(self, done: asyncio.Future[None], rows: tuple[OutboxRow, ...]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._live.asked = rows

    def check_there(self) -> None:
        """A run that has left, or was left behind, does nothing more, whatever its agent made of being told so."""
        if self._live.leaving is not None or self._live.run != self._run:
            raise Suspended
