"""`AdminService`: what an operator may ask, over `Operations` and reads of the store."""

from collections.abc import Sequence

from gateway.v1 import admin_service_pb2 as pb
from gateway.v1 import status_pb2

from gatewayd.access.principals import Principal
from gatewayd.core.errors import NotFound
from gatewayd.operations import ClientReport, Operations
from gatewayd.rpc.contract import AdminServiceServicer
from gatewayd.rpc.convert import context_of, name_of
from gatewayd.rpc.convert_admin import (
    agent_message,
    channel_message,
    check_kinds_of,
    check_message,
    client_message,
    reload_message,
    revoked_subject_of,
    route_message,
    status_message,
)
from gatewayd.rpc.convert_ledger import ledger_message, ledger_states_of, letter_message, piece_message, story_steps
from gatewayd.rpc.guard import Context, Guard
from gatewayd.rpc.paging import cut, gather, page_of
from gatewayd.storage.base import Store
from gatewayd.storage.records import LedgerRecord
from gatewayd.storage.views import OpenLetter

MAX_PIECES = 1000
"""Pieces of one answer that a trace shows."""

_NAME = "/gateway.v1.AdminService/"


class AdminService(AdminServiceServicer):
    """Serves the whole service. Each method converts in, calls, converts out."""

    def __init__(self, *, guard: Guard, operations: Operations, store: Store) -> None:
        self._guard = guard
        self._operations = operations
        self._store = store

    async def GetStatus(  # noqa: N802
        self, request: status_pb2.GetStatusRequest, context: Context
    ) -> status_pb2.GetStatusResponse:
        async def run(_principal: Principal) -> status_pb2.GetStatusResponse:
            report = self._operations.status(daemon_only=request.daemon_only)
            return status_message(report, daemon_only=request.daemon_only)

        return await self._guard.unary(f"{_NAME}GetStatus", context, run)

    async def RunChecks(self, request: pb.RunChecksRequest, context: Context) -> pb.RunChecksResponse:  # noqa: N802
        async def run(_principal: Principal) -> pb.RunChecksResponse:
            reports = await self._operations.check(check_kinds_of(request.kinds))
            return pb.RunChecksResponse(checks=map(check_message, reports))

        return await self._guard.unary(f"{_NAME}RunChecks", context, run)

    async def ListChannels(  # noqa: N802
        self, request: pb.ListChannelsRequest, context: Context
    ) -> pb.ListChannelsResponse:
        async def run(_principal: Principal) -> pb.ListChannelsResponse:
            page = page_of(request.page_size, request.page_token, "ListChannels")
            rows, token = cut(self._operations.channels(), lambda row: row.name, page)
            letters = await self._store.count_letters()
            channels = [
                channel_message(row, self._operations.routing(row.name), letters.get(row.name, 0)) for row in rows
            ]
            return pb.ListChannelsResponse(channels=channels, next_page_token=token)

        return await self._guard.unary(f"{_NAME}ListChannels", context, run)

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Context) -> pb.ListAgentsResponse:  # noqa: N802
        async def run(_principal: Principal) -> pb.ListAgentsResponse:
            page = page_of(request.page_size, request.page_token, "ListAgents")
            rows, token = cut(self._operations.agents(), lambda row: row.id, page)
            return pb.ListAgentsResponse(agents=map(agent_message, rows), next_page_token=token)

        return await self._guard.unary(f"{_NAME}ListAgents", context, run)

    async def ListClients(  # noqa: N802
        self, request: pb.ListClientsRequest, context: Context
    ) -> pb.ListClientsResponse:
        async def run(_principal: Principal) -> pb.ListClientsResponse:
            page = page_of(request.page_size, request.page_token, "ListClients")
            rows, token = cut(self._operations.clients(), _client_key, page)
            return pb.ListClientsResponse(clients=map(client_message, rows), next_page_token=token)

        return await self._guard.unary(f"{_NAME}ListClients", context, run)

    async def ExplainRoute(  # noqa: N802
        self, request: pb.ExplainRouteRequest, context: Context
    ) -> pb.ExplainRouteResponse:
        async def run(_principal: Principal) -> pb.ExplainRouteResponse:
            channel = name_of(request.channel, "channel", required=True)
            room = context_of(request.context, "context")
            return route_message(self._operations.explain_route(channel, room, name_of(request.peer, "peer")))

        return await self._guard.unary(f"{_NAME}ExplainRoute", context, run)

    async def ListMessages(  # noqa: N802
        self, request: pb.ListMessagesRequest, context: Context
    ) -> pb.ListMessagesResponse:
        async def run(_principal: Principal) -> pb.ListMessagesResponse:
            states = ledger_states_of(request.state)
            channel, session_id = name_of(request.channel, "channel"), name_of(request.session_id, "session_id")
            page = page_of(request.page_size, request.page_token, "ListMessages", states, channel, session_id)

            async def read(before: str, limit: int) -> Sequence[LedgerRecord]:
                return await self._store.list_messages(
                    states=states, channel=channel, session_id=session_id, before=before, limit=limit
                )

            rows, token = await gather(read, lambda row: row.message_id, page)
            last = await self._store.last_steps([row.message_id for row in rows])
            messages = [ledger_message(row, last.get(row.message_id)) for row in rows]
            return pb.ListMessagesResponse(messages=messages, next_page_token=token)

        return await self._guard.unary(f"{_NAME}ListMessages", context, run)

    async def TraceMessage(  # noqa: N802
        self, request: pb.TraceMessageRequest, context: Context
    ) -> pb.TraceMessageResponse:
        async def run(_principal: Principal) -> pb.TraceMessageResponse:
            reference = name_of(request.message_id, "message_id", required=True)
            record = await self._story(reference, name_of(request.channel, "channel"))
            pieces = await self._store.pieces(record.message_id, MAX_PIECES)
            return pb.TraceMessageResponse(
                message=ledger_message(record, record.steps[-1] if record.steps else None),
                steps=story_steps(record),
                parts=[piece_message(row, record.steps) for row in pieces],
            )

        return await self._guard.unary(f"{_NAME}TraceMessage", context, run)

    async def ListDeadLetters(  # noqa: N802
        self, request: pb.ListDeadLettersRequest, context: Context
    ) -> pb.ListDeadLettersResponse:
        async def run(_principal: Principal) -> pb.ListDeadLettersResponse:
            channel = name_of(request.channel, "channel")
            page = page_of(request.page_size, request.page_token, "ListDeadLetters", channel)

            async def read(after: str, limit: int) -> Sequence[OpenLetter]:
                return await self._store.open_letters(channel=channel, after=after, limit=limit)

            rows, token = await gather(read, lambda row: row.letter.id, page)
            return pb.ListDeadLettersResponse(dead_letters=map(letter_message, rows), next_page_token=token)

        return await self._guard.unary(f"{_NAME}ListDeadLetters", context, run)

    async def RetryDeadLetter(  # noqa: N802
        self, request: pb.RetryDeadLetterRequest, context: Context
    ) -> pb.RetryDeadLetterResponse:
        async def run(principal: Principal) -> pb.RetryDeadLetterResponse:
            letter_id = name_of(request.dead_letter_id, "dead_letter_id", required=True)
            message_id = await self._operations.retry_dead_letter(letter_id, principal.id)
            return pb.RetryDeadLetterResponse(message_id=message_id)

        return await self._guard.unary(f"{_NAME}RetryDeadLetter", context, run)

    async def RevokeToken(  # noqa: N802
        self, request: pb.RevokeTokenRequest, context: Context
    ) -> pb.RevokeTokenResponse:
        async def run(principal: Principal) -> pb.RevokeTokenResponse:
            digests, closed = await self._operations.revoke_token(revoked_subject_of(request), principal.id)
            return pb.RevokeTokenResponse(token_sha256=digests, connections_closed=closed)

        return await self._guard.unary(f"{_NAME}RevokeToken", context, run)

    async def ReloadConfig(  # noqa: N802
        self, request: pb.ReloadConfigRequest, context: Context
    ) -> pb.ReloadConfigResponse:
        async def run(principal: Principal) -> pb.ReloadConfigResponse:
            report = await self._operations.reload(
                validate_only=request.validate_only, expected_digest=request.expected_digest, actor=principal.id
            )
            return reload_message(report)

        return await self._guard.unary(f"{_NAME}ReloadConfig", context, run)

    async def _story(self, reference: str, channel: str) -> LedgerRecord:
        known = await self._store.message_on(channel, reference) if channel else reference
        record = await self._store.story(known) if known else None
        if record is None:
            raise NotFound(f"the ledger has no message {reference!r}" + (f" of channel {channel!r}" if channel else ""))
        return record


def _client_key(row: ClientReport) -> str:
    """Those that have yet to say hello share the empty id: only where and when they came tells them apart."""
    return "\x1f".join((row.principal, row.client_id, row.peer, repr(row.connected)))
