"""What somebody may do to an execution that is under way. A stranger's is answered like none."""

from collections.abc import Awaitable, Callable

from gatewayd.access.principals import Principal
from gatewayd.core.errors import NotFound
from gatewayd.core.value import value
from gatewayd.core.work import Execution
from gatewayd.routing.commits import Commits
from gatewayd.runtime.live import LiveExecution
from gatewayd.runtime.runtime import AgentRuntime
from gatewayd.storage.base import Store


@value(frozen=True, slots=True)
class Caller:
    """Who sends over gRPC, and from which of its clients."""

    principal: Principal
    client_id: str


class Controls:
    """`check_open` raises `Draining` once no work is taken in any more. A `reason` is the caller's own word on it."""

    def __init__(self, store: Store, runtime: AgentRuntime, commits: Commits, check_open: Callable[[], None]) -> None:
        self._store = store
        self._runtime = runtime
        self._commits = commits
        self._check_open = check_open

    async def visible(self, execution_id: str, principal: Principal) -> Execution:
        """The execution as it is; `NotFound` also for one that the principal may not see."""
        execution = await self._store.get_execution(execution_id)
        if execution is None or not principal.may_see(execution.principal):
            raise NotFound(f"no execution {execution_id!r}")
        return execution

    async def cancel(self, execution_id: str, caller: Caller, reason: str = "") -> None:
        """End it as CANCELLED."""
        await self._check(execution_id, caller)
        work = self._runtime.cancel(execution_id, _by("cancelled", caller, reason))
        await self._commits.carry(work, name="cancel")

    async def end(self, execution_id: str, reason: str) -> None:
        """As `AgentRuntime.cancel`, to its end whoever is cut off; the right to it was asked before."""
        await self._commits.carry(self._runtime.cancel(execution_id, reason), name="cancel")

    async def pause(self, execution_id: str, caller: Caller, reason: str = "") -> LiveExecution | None:
        """See `AgentRuntime.pause`."""
        await self._check(execution_id, caller)
        self._check_open()
        work = self._runtime.pause(execution_id, _by("paused", caller, reason))
        return await self._commits.carry(work, name="pause")

    async def resume(self, execution_id: str, caller: Caller, reason: str = "") -> None:
        """Queue one that was paused; it goes on from its last checkpoint."""
        execution = await self._check(execution_id, caller)
        self._check_open()
        why, suspending = _by("resumed", caller, reason), self._runtime.suspending
        await self._come_back(execution, lambda: suspending.resume(execution_id, why), name="resume")

    async def give_input(self, execution_id: str, node_id: str, content: str, caller: Caller) -> None:
        """Queue one that waits for input, with the input."""
        execution = await self._check(execution_id, caller)
        self._check_open()
        who, suspending = caller.principal.id, self._runtime.suspending
        await self._come_back(
            execution, lambda: suspending.give_input(execution_id, node_id, content, who), name="input"
        )

    async def _come_back(self, execution: Execution, work: Callable[[], Awaitable[None]], *, name: str) -> None:
        """Room is kept for it until it is queued."""

        async def within() -> None:
            release = self._runtime.lanes.reserve(execution.entry_point)
            try:
                await work()
            finally:
                release()

        await self._commits.carry(within(), name=name)

    async def _check(self, execution_id: str, caller: Caller) -> Execution:
        live = self._runtime.live(execution_id)
        if live is None:
            return await self.visible(execution_id, caller.principal)
        if not caller.principal.may_see(live.execution.principal):
            raise NotFound(f"no execution {execution_id!r}")
        return live.execution


def _by(done: str, caller: Caller, reason: str) -> str:
    why = f"{done} by {caller.principal.id}"
    return f"{why}: {reason}" if reason else why
