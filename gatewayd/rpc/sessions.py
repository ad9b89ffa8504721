"""`SessionService`: looks at conversations and ends them."""

from gateway.v1 import session_service_pb2 as pb

from gatewayd.access.audit import Audit
from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Action
from gatewayd.core.errors import NotFound
from gatewayd.routing.closing import Closing, Erased
from gatewayd.rpc.contract import SessionServiceServicer
from gatewayd.rpc.convert import history_message, name_of, session_message
from gatewayd.rpc.guard import Context, Guard
from gatewayd.rpc.paging import DEFAULT_SIZE, MAX_SIZE, moment_place, page_of
from gatewayd.runtime.runtime import AgentRuntime
from gatewayd.sessions import person
from gatewayd.storage.base import Store
from gatewayd.storage.records import SessionRecord
from gatewayd.storage.views import HistoryLine
from gatewayd.wire.values import refuse

MAX_PAGE_BYTES = 1024 * 1024
"""A page of an export ends here, unless its first message alone is larger."""

_NAME = "/gateway.v1.SessionService/"
_READ = 100
"""Lines of a history read at once."""


class SessionService(SessionServiceServicer):
    """Serves the whole service. A session of somebody else is answered like one that is not there."""

    def __init__(self, *, guard: Guard, runtime: AgentRuntime, store: Store, closing: Closing, audit: Audit) -> None:
        self._guard = guard
        self._lanes = runtime.lanes
        self._store = store
        self._closing = closing
        self._audit = audit

    async def ListSessions(  # noqa: N802
        self, request: pb.ListSessionsRequest, context: Context
    ) -> pb.ListSessionsResponse:
        async def run(principal: Principal) -> pb.ListSessionsResponse:
            channel, agent = name_of(request.channel, "channel"), name_of(request.agent, "agent")
            whose = name_of(request.principal, "principal")
            page = page_of(request.page_size, request.page_token, "ListSessions", channel, agent, whose)
            if not principal.scopes.all_sessions:
                if whose not in ("", principal.id):
                    return pb.ListSessionsResponse()
                whose = principal.id
            rows = await self._store.recent_sessions(
                principal=whose, agent=agent, channel=channel, before=page.moment, limit=page.size + 1
            )
            taken = rows[: page.size]
            last = taken[-1] if len(rows) > page.size else None
            return pb.ListSessionsResponse(
                sessions=[session_message(row, self._lanes) for row in taken],
                next_page_token=page.next(moment_place(last.last_active, last.id)) if last else "",
            )

        return await self._guard.unary(f"{_NAME}ListSessions", context, run)

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.GetSessionResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.GetSessionResponse:
            record = await self._visible(request.session_id, principal)
            size = _history_size(request.history_size)
            lines = await self._store.history_lines(record.id, after=0, newest=True, limit=size)
            return pb.GetSessionResponse(
                session=session_message(record, self._lanes), history=[history_message(line) for line in lines]
            )

        return await self._guard.unary(f"{_NAME}GetSession", context, run)

    async def ResetSession(  # noqa: N802
        self, request: pb.ResetSessionRequest, context: Context
    ) -> pb.ResetSessionResponse:
        async def run(principal: Principal) -> pb.ResetSessionResponse:
            record = await self._visible(request.session_id, principal)
            cancelled = await self._closing.reset(record.id, f"reset by {principal.id}")
            return pb.ResetSessionResponse(session_id=record.id, cancelled_executions=cancelled)

        return await self._guard.unary(f"{_NAME}ResetSession", context, run)

    async def ExportSession(  # noqa: N802
        self, request: pb.ExportSessionRequest, context: Context
    ) -> pb.ExportSessionResponse:
        async def run(principal: Principal) -> pb.ExportSessionResponse:
            record = await self._visible(request.session_id, principal)
            page = page_of(request.page_size, request.page_token, "ExportSession", record.id)
            lines, more = await self._lines(record.id, page.number, page.size)
            return pb.ExportSessionResponse(
                session=session_message(record, self._lanes),
                messages=[history_message(line) for line in lines],
                next_page_token=page.next(str(lines[-1].place)) if more else "",
            )

        return await self._guard.unary(f"{_NAME}ExportSession", context, run)

    async def EraseSession(  # noqa: N802
        self, request: pb.EraseSessionRequest, context: Context
    ) -> pb.EraseSessionResponse:
        async def run(principal: Principal) -> pb.EraseSessionResponse:
            principal.require(Action.ADMIN_WRITE)
            subject, erased = await self._erase(request, principal)
            detail = f"{erased.sessions} sessions, {erased.messages} messages, {erased.executions} executions"
            self._audit.record(
                principal=principal.id, action="erase_session", subject=subject, decision="erased", detail=detail
            )
            return pb.EraseSessionResponse(
                sessions=erased.sessions,
                messages=erased.messages,
                executions=erased.executions,
                events=erased.events,
            )

        return await self._guard.unary(f"{_NAME}EraseSession", context, run)

    async def _erase(self, request: pb.EraseSessionRequest, principal: Principal) -> tuple[str, Erased]:
        reason = f"erased by {principal.id}"
        kind = request.WhichOneof("subject")
        if kind == "session_id":
            record = await self._visible(request.session_id, principal)
            return record.id, await self._closing.erase(record.id, reason)
        if kind != "peer":
            raise refuse("subject", "name a session or a person")
        channel = name_of(request.peer.channel, "peer.channel", required=True)
        owner = person(channel, name_of(request.peer.peer, "peer.peer", required=True))
        # Somebody else's person is answered like one of whom nothing is kept.
        return owner, await self._closing.erase_all(owner, reason) if principal.may_see(owner) else Erased()

    async def _visible(self, session_id: str, principal: Principal) -> SessionRecord:
        record = await self._store.get_session(name_of(session_id, "session_id", required=True))
        if record is None or not principal.may_see(record.principal):
            raise NotFound(f"no session {session_id!r}")
        return record

    async def _lines(self, session_id: str, after: int, size: int) -> tuple[list[HistoryLine], bool]:
        """The lines of one page, and whether there are more behind it."""
        taken: list[HistoryLine] = []
        used = 0
        while True:
            read = await self._store.history_lines(session_id, after=after, newest=False, limit=_READ)
            for line in read:
                used += len(line.entry.content.encode())
                if taken and (len(taken) == size or used > MAX_PAGE_BYTES):
                    return taken, True
                taken.append(line)
                after = line.place
            if len(read) < _READ:
                return taken, False


def _history_size(wanted: int) -> int:
    if wanted < -1:
        raise refuse("history_size", "is less than -1")
    return 0 if wanted == -1 else min(wanted or DEFAULT_SIZE, MAX_SIZE)
