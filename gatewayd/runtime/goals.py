"""Goals: the records of all of them, what counts for which, and the events that tell of it.

I hear of the ends of executions and of calls of tools from the log of events, each once, and of outcomes and violations
from who reports them. A record is written whole with the events of its change, as one unit; only then it counts. What
belongs to somebody's execution stays with its owner: events of progress have figures alone.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gatewayd.agents.goal import AgentGoal
from gatewayd.config.goals import GoalSection
from gatewayd.config.model import GatewayConfig
from gatewayd.core.clock import Clock
from gatewayd.core.errors import InvalidArgument, NotFound
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.goals import (
    Breach,
    Evidence,
    GoalProgress,
    Outcome,
    Recommendation,
    breach,
    clean,
    outcome,
    seen_by,
)
from gatewayd.core.work import Execution
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.goal_record import GoalRecord
from gatewayd.storage.base import Store
from gatewayd.wire import data_of

log = logging.getLogger("gatewayd.goals")

MARKS = "goal "
"""What the names of records in the store begin with; the goal's id follows."""


class Goals:
    """All of one gateway. `running` says how many executions of an entry point run now."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        events: ExecutionEvents,
        running: Callable[[str], int] = lambda _entry_point: 0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._events = events
        self._running = running
        self._sections: Mapping[str, GoalSection] = {}
        self._of: Mapping[str, str] = {}
        self._records: dict[str, GoalRecord] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    # Configuration

    async def load(self) -> None:
        """What was kept; what is kept for goals that are no more goes."""
        kept = await self._store.marks(MARKS)
        self._records = {
            name: GoalRecord(name, section, kept.get(MARKS + name, "")) for name, section in self._sections.items()
        }
        for mark in kept:
            if mark.removeprefix(MARKS) not in self._sections:
                await self._store.forget_mark(mark)

    def use(self, config: GatewayConfig) -> list[str]:
        """Follow a configuration; the goals that left, to be given to `forget`."""
        left = [name for name in self._sections if name not in config.goals]
        self._sections = config.goals
        self._of = {name: one.goal for name, one in config.entry_points.items() if one.goal is not None}
        before, self._records = self._records, {}
        for name, section in self._sections.items():
            old = before.get(name)
            self._records[name] = (
                old
                if old is not None and old.section == section
                else GoalRecord(name, section, old.text() if old else "")
            )
        return left

    async def forget(self, name: str) -> None:
        """A goal that comes again begins anew."""
        async with self._locks[name]:
            if name not in self._sections:
                await self._store.forget_mark(MARKS + name)

    @property
    def ids(self) -> Sequence[str]:
        """All goals, in the order of the file."""
        return list(self._sections)

    def section(self, goal_id: str) -> GoalSection | None:
        """What a goal is now."""
        return self._sections.get(goal_id)

    def entry_points(self, goal_id: str) -> tuple[str, ...]:
        """Those with that goal."""
        return tuple(name for name, goal in self._of.items() if goal == goal_id)

    def goal_of(self, execution: Execution) -> AgentGoal | None:
        """What an agent has of its execution's goal; None without one."""
        goal_id = self._of.get(execution.entry_point) if execution.entry_point else None
        return ExecutionGoal(self, goal_id, execution) if goal_id is not None else None

    def counts(self, stream_id: str) -> str:
        """The goal for which the executions of that stream count, if they are an entry point's; '' for none."""
        return self._of.get(stream_id, "")

    # Counting

    def progress(self, goal_id: str) -> GoalProgress:
        """How far a goal is. Raises `NotFound`."""
        record = self._records.get(goal_id)
        if record is None:
            raise NotFound(f"no goal {goal_id!r}")
        found, mine = record.progress(), self.entry_points(goal_id)
        metrics = replace(found.metrics, entry_points=mine, running=sum(map(self._running, mine)))
        return replace(found, metrics=metrics)

    async def report(
        self, execution: Execution, outcomes: Sequence[Outcome], breaches: Sequence[Breach]
    ) -> GoalProgress:
        """Count what was reported of an execution, all or nothing, on disk when it returns.

        Raises `InvalidArgument` for what its goal does not have, and `NotFound` when it has no goal.
        """
        goal_id = self._of.get(execution.entry_point, "")
        if not goal_id:
            raise NotFound(f"the execution {execution.id!r} has no goal: its entry point names none")
        now = self._clock.now()
        async with self._locks[goal_id]:
            record = self._copy(goal_id)
            new = record.report(execution, now, list(outcomes), list(breaches))
            await self._keep(record, execution, [self._told(execution, goal_id, one) for one in new])
        return self.progress(goal_id)

    async def observe(self, observed: Sequence[tuple[Event, Execution]]) -> None:
        """Count events of executions that have goals, in order; those that were counted before change nothing."""
        by_goal: defaultdict[str, list[tuple[Event, Execution]]] = defaultdict(list)
        for event, execution in observed:
            if goal_id := self._of.get(execution.entry_point):
                by_goal[goal_id].append((event, execution))
        for goal_id, events in by_goal.items():
            async with self._locks[goal_id]:
                if goal_id not in self._records:
                    continue
                record = self._copy(goal_id)
                counted = None
                for event, execution in events:
                    if event.cursor is not None and not _is_behind(record.place, event.cursor):
                        _count(record, event, execution.principal)
                        record.place = str(event.cursor)
                        counted = execution
                if counted is not None:
                    await self._keep(record, counted, [])

    async def forget_executions(self, execution_ids: Sequence[str]) -> None:
        """Take the words of these executions out of all evidence; what was counted stays."""
        gone = frozenset(execution_ids)
        for goal_id in self.ids:
            async with self._locks[goal_id]:
                if goal_id not in self._records:
                    continue
                record = self._copy(goal_id)
                if record.forget(gone):
                    await self._store.set_mark(MARKS + goal_id, record.text())
                    self._put(record)

    def _copy(self, goal_id: str) -> GoalRecord:
        """To be changed: the record that counts is only ever replaced."""
        record = self._records.get(goal_id)
        if record is None:
            raise NotFound(f"no goal {goal_id!r}")
        return GoalRecord(goal_id, record.section, record.text())

    async def _keep(self, record: GoalRecord, execution: Execution, told: Sequence[Event]) -> None:
        """Write the record with what there is to tell, and let it count."""
        goal_id = record.id
        before, after = self._records[goal_id].progress(), record.progress()
        events = list(told)
        if _shown(before) != _shown(after):
            data = {"progress": after.progress, "criteria_status": _status(after)}
            events.append(self._event(execution, goal_id, EventType.GOAL_PROGRESS, data))
        if not record.achieved and after.recommendation is Recommendation.COMPLETE:
            record.achieved = self._clock.now()
            data = {"goal_id": goal_id, "progress": after.progress}
            events.append(self._event(execution, goal_id, EventType.GOAL_ACHIEVED, data))
        await self._store.set_mark(MARKS + goal_id, record.text(), events)
        self._put(record)

    def _put(self, record: GoalRecord) -> None:
        section = self._sections.get(record.id)
        if section is not None:  # it may have changed meanwhile
            same = section == record.section
            self._records[record.id] = record if same else GoalRecord(record.id, section, record.text())

    def _event(self, execution: Execution, goal_id: str, kind: EventType, data: Mapping[str, object]) -> Event:
        """For everybody who may hear of the goal: of the execution it names that it was the reason."""
        return replace(self._events.make(execution, kind, data), topic=goal_id, owner="", session_id="")

    def _told(self, execution: Execution, goal_id: str, one: Breach) -> Event:
        """For who may see the execution: the words may be of its work."""
        constraints = self._sections[goal_id].constraints
        described = one.description or next((each.description for each in constraints if each.id == one.constraint), "")
        data = {"constraint_id": one.constraint, "description": described}
        return replace(self._events.make(execution, EventType.CONSTRAINT_VIOLATION, data), topic=goal_id)


class ExecutionGoal(AgentGoal):
    """See `agents.goal.AgentGoal`."""

    def __init__(self, goals: Goals, goal_id: str, execution: Execution) -> None:
        self._goals = goals
        self._id = goal_id
        self._execution = execution
        self._section = goals.section(goal_id)

    @property
    def id(self) -> str:
        return self._id

    async def outcome(self, criterion: str, good: bool | float = True, evidence: str = "", *, item: str = "") -> None:
        await self._report([outcome(criterion, good, evidence, item)], [])

    async def violation(self, constraint: str, description: str = "", *, item: str = "") -> None:
        await self._report([], [breach(constraint, description, item)])

    async def _report(self, outcomes: Sequence[Outcome], breaches: Sequence[Breach]) -> None:
        """An execution that has begun with another goal than there is now goes on; what does not fit counts nothing."""
        try:
            await self._goals.report(self._execution, outcomes, breaches)
        except (NotFound, InvalidArgument) as error:
            same_goal = self._goals.counts(self._execution.stream_id) == self._id
            if same_goal and self._goals.section(self._id) == self._section:
                raise
            log.info("report_not_counted", extra={"execution": self._execution.id, "why": error.message})

    async def progress(self) -> GoalProgress:
        return seen_by(self._goals.progress(self._id), self._execution.principal.__eq__)


def _is_behind(place: str, cursor: Cursor) -> bool:
    """Whether an event was counted before; a place in another log says nothing."""
    if not place:
        return False
    counted = Cursor.parse(place)
    return counted.epoch == cursor.epoch and cursor.seq <= counted.seq


def _count(record: GoalRecord, event: Event, owner: str) -> None:
    data, measure = data_of(event), "executions"
    match event.type:
        case EventType.EXECUTION_COMPLETED:
            score, text = 1.0, "it succeeded"
        case EventType.EXECUTION_FAILED:
            score, text = 0.0, str(data.get("error", "")) or "it failed"
        case _:
            measure, score = "tool_calls", 0.0 if data.get("is_error") else 1.0
            text = f"{data.get('tool_name', '')} {'answered' if score else 'failed'}"
    record.observe(measure, event.id, score, Evidence(event.time, event.execution_id, clean(text), score, owner))


def _shown(progress: GoalProgress) -> object:
    """What an event of progress tells of; while it is the same nobody needs one."""
    return round(progress.progress, 4), tuple((one.id, one.met) for one in progress.criteria), progress.recommendation


def _status(progress: GoalProgress) -> dict[str, object]:
    """Each criterion in figures."""
    return {
        one.id: {
            "description": one.description,
            "met": one.met,
            "progress": one.progress,
            "target": one.target,
            "outcomes": one.outcomes,
        }
        for one in progress.criteria
    }
