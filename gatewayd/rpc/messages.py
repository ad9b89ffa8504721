"""The half of `AgentService` that is about messages between agents: topics, instances, and their states."""

import json

from gateway.v1 import agent_service_pb2 as pb

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Action
from gatewayd.agents.messages import text_of
from gatewayd.agents.registry import AgentRegistry
from gatewayd.core.agents import DEFAULT_KEY, AgentId, TopicId
from gatewayd.core.errors import GatewayError, NotFound
from gatewayd.engine.engine import MessageEngine
from gatewayd.routing.published import Publication, Publications
from gatewayd.rpc.convert import name_of
from gatewayd.rpc.guard import Context, Guard, traceparent_of
from gatewayd.rpc.paging import cut, page_of
from gatewayd.rpc.patience import Rates, time_left
from gatewayd.runtime.speaking import json_message
from gatewayd.wire.values import check_struct, object_from, refuse, span_from, valid_text

_NAME = "/gateway.v1.AgentService/"
_SAVED = "saved:"
MAX_KEY = 200
"""Longest idempotency key of a published message, in characters."""
MAX_TIMEOUT = 86_400.0
"""Longest time for a reply, in seconds."""
MOST_NAMED = 1000
"""Instances that one request may name."""


class MessageCalls:
    """Serves `PublishMessage`, `ListAgentInstances`, `SaveState` and `LoadState`, and the messages of workers."""

    def __init__(
        self,
        *,
        guard: Guard,
        engine: MessageEngine,
        agents: AgentRegistry,
        publications: Publications,
        rates: Rates,
    ) -> None:
        self._guard = guard
        self._engine = engine
        self._agents = agents
        self._publications = publications
        self._rates = rates

    async def PublishMessage(  # noqa: N802
        self, request: pb.PublishMessageRequest, context: Context
    ) -> pb.PublishMessageResponse:
        async def run(principal: Principal) -> pb.PublishMessageResponse:
            topic = _topic(request.topic)
            data_type, text = _content(request)
            heard = sorted(self._engine.agents_for(topic))
            for agent in heard:
                principal.require(Action.SEND, agent)
            self._rates.send(principal.id)
            if request.call_id:
                return await self._published_by_worker(request, principal, data_type, text)
            key = name_of(request.idempotency_key, "idempotency_key")
            if len(key) > MAX_KEY:
                raise refuse("idempotency_key", f"is longer than {MAX_KEY} characters")
            correlation = name_of(request.correlation_id, "correlation_id")
            message = Publication(topic, text, data_type, principal.id, correlation, key, traceparent_of(context))
            taken = await self._publications.publish(message, heard)
            executions = [
                pb.PublishedExecution(
                    agent=agent, execution_id=one.accepted.execution_id, duplicate=one.accepted.duplicate
                )
                for agent, one in zip(heard, taken, strict=True)
            ]
            return pb.PublishMessageResponse(count=len(executions), executions=executions)

        return await self._guard.unary(f"{_NAME}PublishMessage", context, run)

    async def _published_by_worker(
        self, request: pb.PublishMessageRequest, principal: Principal, data_type: str, text: str
    ) -> pb.PublishMessageResponse:
        for field in ("idempotency_key", "correlation_id"):
            if getattr(request, field):
                raise refuse(field, "does not go with `call_id`")
        voice = self._agents.workers.held(principal.id, request.call_id).context
        message = json_message(data_type, text) if data_type else text
        count = await voice.publish(request.topic, message) if voice is not None else 0
        return pb.PublishMessageResponse(count=count)

    async def sent_by_worker(
        self, request: pb.SendMessageRequest, context: Context, principal: Principal
    ) -> pb.SendMessageResponse:
        """`SendMessage` with a `call_id`."""
        for field in ("channel", "context", "session_id", "correlation_id", "idempotency_key"):
            if getattr(request, field):
                raise refuse(field, "does not go with `call_id`")
        if not request.text.strip():
            raise refuse("text", "is required")
        receiver = _agent(f"{request.agent}/{request.key or DEFAULT_KEY}", "agent")
        principal.require(Action.SEND, receiver.type)
        self._rates.send(principal.id)
        call = self._agents.workers.held(principal.id, request.call_id)
        allowed = self._agents.get(receiver.type).timeout
        wanted = span_from(request.timeout, "timeout") if request.HasField("timeout") else allowed
        timeout = min(wanted or allowed, time_left(context) or allowed, MAX_TIMEOUT)
        assert call.context is not None
        reply = await call.context.send(receiver.type, request.text, key=receiver.key, timeout=timeout)
        return pb.SendMessageResponse(
            execution_id=call.execution_id,
            session_id=call.turn.session_id,
            agent=receiver.type,
            content=valid_text("" if reply is None else text_of(reply)),
        )

    async def ListAgentInstances(  # noqa: N802
        self, request: pb.ListAgentInstancesRequest, context: Context
    ) -> pb.ListAgentInstancesResponse:
        async def run(_principal: Principal) -> pb.ListAgentInstancesResponse:
            agent = name_of(request.agent, "agent")
            page = page_of(request.page_size, request.page_token, f"ListAgentInstances {agent}")
            found = sorted(
                ((str(one.id), one) for one in self._engine.busy() if not agent or one.id.type == agent),
                key=lambda row: row[0],
            )
            rows, token = cut(found, lambda row: row[0], page)
            instances = [
                pb.AgentInstance(agent=one.id.type, key=valid_text(one.id.key), running=one.running, queued=one.queued)
                for _, one in rows
            ]
            return pb.ListAgentInstancesResponse(instances=instances, next_page_token=token)

        return await self._guard.unary(f"{_NAME}ListAgentInstances", context, run)

    async def SaveState(self, request: pb.SaveStateRequest, context: Context) -> pb.SaveStateResponse:  # noqa: N802
        async def run(_principal: Principal) -> pb.SaveStateResponse:
            state = await self._engine.save(_state_key(request.name), _instances(request.agents))
            return pb.SaveStateResponse(saved=sorted(state["agents"]), subscriptions=len(state["subscriptions"]))

        return await self._guard.unary(f"{_NAME}SaveState", context, run)

    async def LoadState(self, request: pb.LoadStateRequest, context: Context) -> pb.LoadStateResponse:  # noqa: N802
        async def run(_principal: Principal) -> pb.LoadStateResponse:
            key = _state_key(request.name)
            try:
                report = await self._engine.load(key, _instances(request.agents))
            except NotFound:
                raise NotFound(f"nothing was saved under the name {key.removeprefix(_SAVED)!r}") from None
            return pb.LoadStateResponse(
                loaded=[str(one) for one in report.loaded], unknown=report.unknown, subscriptions=report.subscriptions
            )

        return await self._guard.unary(f"{_NAME}LoadState", context, run)


def _state_key(name: str) -> str:
    """Apart from the states that instances are put away with."""
    return _SAVED + (name_of(name, "name") or "engine")


def _instances(texts: object) -> list[AgentId] | None:
    named = [_agent(str(text), "agents") for text in texts]  # type: ignore[attr-defined]
    if len(named) > MOST_NAMED:
        raise refuse("agents", f"names more than {MOST_NAMED} instances")
    return named or None


def _agent(text: str, field: str) -> AgentId:
    try:
        return AgentId.parse(text)
    except GatewayError as error:
        raise refuse(field, error.message) from None


def _topic(text: str) -> TopicId:
    try:
        return TopicId.parse(text)
    except GatewayError as error:
        raise refuse("topic", error.message) from None


def _content(request: pb.PublishMessageRequest) -> tuple[str, str]:
    """Type ('' for text) and text of what is published."""
    kind = request.WhichOneof("content")
    if kind == "json":
        check_struct(request.json, "json")
        data_type = name_of(request.data_type, "data_type") or "object"
        return data_type, json.dumps(object_from(request.json), ensure_ascii=False, sort_keys=True)
    if request.data_type:
        raise refuse("data_type", "goes with `json` alone")
    if not request.text.strip():
        raise refuse("text", "is required, or `json`")
    return "", request.text
