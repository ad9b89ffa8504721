"""Ending conversations on request: reset and erasure, together with what runs in them.

The session ends first, so that the next message begins a new one; then its executions are cancelled; only then, for an
erasure, are the contents deleted, so that nothing is written behind it.
"""

from gatewayd.core.errors import Draining, ExecutionFinished, NotFound
from gatewayd.core.filter import EventFilter
from gatewayd.core.value import value
from gatewayd.core.work import ExecutionState
from gatewayd.routing.erasing import Erasing, Words
from gatewayd.routing.router import Router
from gatewayd.sessions import SessionManager
from gatewayd.storage.base import Store

_PAGE = 500
_UNFINISHED = tuple(state for state in ExecutionState if not state.terminal)


@value(frozen=True, slots=True)
class Erased:
    """What an erasure went over: rows of each kind that belong to the sessions."""

    sessions: int = 0
    messages: int = 0
    """Lines of histories and messages of the ledger."""
    executions: int = 0
    events: int = 0

    def plus(self, other: "Erased") -> "Erased":
        """Both together."""
        return Erased(
            self.sessions + other.sessions,
            self.messages + other.messages,
            self.executions + other.executions,
            self.events + other.events,
        )


class Closing:
    """Who may ask is decided before."""

    def __init__(self, sessions: SessionManager, router: Router, store: Store, erasing: Erasing) -> None:
        self._sessions = sessions
        self._router = router
        self._store = store
        self._erasing = erasing

    async def reset(self, session_id: str, reason: str) -> int:
        """End the session; how many executions were cancelled with it. `NotFound` when it has ended already."""
        if not await self._sessions.reset(session_id, reason):
            raise NotFound(f"no session {session_id!r} that has not ended")
        return await self._cancel(session_id, reason)

    async def erase(self, session_id: str, reason: str) -> Erased:
        """End the session if need be and delete what was said in it; nothing at all if there is no such session.

        `Draining`, and nothing is deleted, while an execution of it waits for the next start: what it knows of the
        messages that it has to answer for would be gone.
        """
        await self._sessions.reset(session_id, reason)
        await self._cancel(session_id, reason, all_of_it=True)
        erased = await self._count(session_id)
        if not erased.sessions:
            return erased
        # Found before the session's own words are gone, which lead to them.
        following = await self._erasing.following(reason, session_id=session_id)
        return erased.plus(await self._erase(session_id, Words(session_id, following)))

    async def erase_all(self, principal: str, reason: str) -> Erased:
        """Erase every session of a principal, the ended ones too."""
        erased, before = Erased(), ""
        while page := await self._store.list_sessions(
            principal=principal, agent="", channel="", include_ended=True, before=before, limit=_PAGE
        ):
            for record in page:
                erased = erased.plus(await self.erase(record.id, reason))
            before = page[-1].id
        following = await self._erasing.following(reason, principal=principal)
        return erased.plus(await self._erase(principal, Words(execution_ids=following))) if following else erased

    async def _erase(self, subject: str, words: Words) -> Erased:
        """The executions without a session that went."""
        executions, events = await self._erasing.erase(subject, words)
        return Erased(0, len(executions), len(executions), events)

    async def _cancel(self, session_id: str, reason: str, *, all_of_it: bool = False) -> int:
        """How many; with `all_of_it` `Draining` if one has to wait for the next start of the daemon."""
        cancelled = 0
        while page := await self._store.list_executions(
            states=_UNFINISHED, session_id=session_id, agent="", before="", limit=_PAGE
        ):
            ended = 0
            for execution in page:
                try:
                    await self._router.controls.end(execution.id, reason)
                    ended += 1
                except (ExecutionFinished, NotFound):
                    continue  # it ended by itself
                except Draining:
                    if all_of_it:
                        raise
            cancelled += ended
            if not ended:
                break
        return cancelled

    async def _count(self, session_id: str) -> Erased:
        record = await self._store.get_session(session_id)
        if record is None:
            return Erased()
        messages, before = record.messages, ""
        while stories := await self._store.list_messages(
            states=(), channel="", session_id=session_id, before=before, limit=_PAGE
        ):
            messages, before = messages + len(stories), stories[-1].message_id
        executions, before = 0, ""
        while runs := await self._store.list_executions(
            states=(), session_id=session_id, agent="", before=before, limit=_PAGE
        ):
            executions, before = executions + len(runs), runs[-1].id
        return Erased(1, messages, executions, await self._count_events(session_id))

    async def _count_events(self, session_id: str) -> int:
        count, after = 0, max(0, self._store.log.first_seq - 1)
        while after < self._store.log.last_seq:
            page = await self._store.read_forward(after, EventFilter(session_id=session_id), _PAGE)
            count, after = count + len(page.events), page.scanned_to
        return count
