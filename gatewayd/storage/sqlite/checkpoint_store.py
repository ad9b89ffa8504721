"""The part of `SQLiteStore` that implements `storage.checkpoints.CheckpointTables`, and `Store.requeue`."""

from collections.abc import Callable, Sequence
from functools import partial

from gatewayd.core.checkpoint import BegunCall, Checkpoint, Question, Restart
from gatewayd.core.event import Event
from gatewayd.core.execution_log import LogEntry
from gatewayd.core.work import Execution
from gatewayd.storage.checkpoints import CheckpointWrite
from gatewayd.storage.sqlite import absences, checkpoints, execution_log, questions
from gatewayd.storage.sqlite.reader import Reader
from gatewayd.storage.sqlite.tx import Tx
from gatewayd.storage.sqlite.unit import Receipt
from gatewayd.storage.sqlite.writer import Writer


class SQLiteCheckpoints:
    """See `storage.checkpoints.CheckpointTables`."""

    _reader: Reader
    _writer: Writer

    def save_checkpoint(self, write: CheckpointWrite) -> Receipt[None]:
        size = len(write.checkpoint.state) + len(write.checkpoint.output)
        return self._submit(partial(checkpoints.save, write=write), write.events, size)

    def requeue(self, execution_id: str, reason: str, events: Sequence[Event]) -> Receipt[None]:
        return self._submit(partial(checkpoints.requeue, execution_id=execution_id, reason=reason), events)

    def pause_queued(self, execution_id: str, reason: str, events: Sequence[Event]) -> Receipt[None]:
        return self._submit(partial(checkpoints.pause_queued, execution_id=execution_id, reason=reason), events)

    def resume(self, execution_id: str, reason: str, events: Sequence[Event], *, awaiting: str = "") -> Receipt[None]:
        apply = partial(checkpoints.resume, execution_id=execution_id, reason=reason, awaiting=awaiting)
        return self._submit(apply, events)

    def stay_paused(self, execution_id: str, reason: str, events: Sequence[Event]) -> Receipt[None]:
        return self._submit(partial(absences.stay_paused, execution_id=execution_id, reason=reason), events)

    def give_input(
        self, execution_id: str, node_id: str, content: str, time: float, events: Sequence[Event]
    ) -> Receipt[None]:
        apply = partial(checkpoints.give_input, execution_id=execution_id, node_id=node_id, content=content, time=time)
        return self._submit(apply, events, len(content))

    def begin_call(self, call: BegunCall, events: Sequence[Event]) -> Receipt[None]:
        return self._submit(partial(checkpoints.begin_call, call=call), events)

    def complete_call(self, execution_id: str, call_id: str, events: Sequence[Event]) -> Receipt[None]:
        return self._submit(partial(checkpoints.complete_call, execution_id=execution_id, call_id=call_id), events)

    async def awaiting(self, agent: str, after: str, limit: int) -> list[Execution]:
        return await self._reader.run(absences.of, agent, after, limit)

    async def open_question(self, session_id: str) -> Question | None:
        return await self._reader.run(questions.open_in, session_id)

    async def questions_of(self, execution_id: str) -> list[Question]:
        return await self._reader.run(questions.of, execution_id)

    async def restart_of(self, execution_id: str) -> Restart:
        return await self._reader.run(checkpoints.restart_of, execution_id)

    async def list_checkpoints(self, execution_id: str) -> list[Checkpoint]:
        return await self._reader.run(checkpoints.list_all, execution_id)

    async def execution_log(self, execution_id: str) -> list[LogEntry]:
        return await self._reader.run(execution_log.read, execution_id)

    async def overdue_suspended(self, before: float, limit: int) -> list[Execution]:
        return await self._reader.run(checkpoints.overdue, before, limit)

    def _submit(self, apply: Callable[[Tx], None], events: Sequence[Event], size: int = 0) -> Receipt[None]:
        def both(tx: Tx) -> None:
            apply(tx)
            tx.add_events(events)

        size += sum(len(event.wire) for event in events)
        return self._writer.submit(both, streams=[event.stream_id for event in events], size=size)
