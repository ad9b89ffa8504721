"""The half of `AgentService` that is about messages between agents: topics, instances, and their states."""

from gateway.v1 import agent_service_pb2 as pb

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Action
from gatewayd.conversation.speaking import Speaking
from gatewayd.core import workers
from gatewayd.core.agents import AgentId
from gatewayd.core.errors import GatewayError, NotFound
from gatewayd.engine.engine import MessageEngine
from gatewayd.routing.published import Publication, Publications
from gatewayd.rpc.convert import name_of
from gatewayd.rpc.guard import Context, Guard, traceparent_of
from gatewayd.rpc.paging import cut, page_of
from gatewayd.rpc.patience import Rates, time_left
from gatewayd.wire.speaking import content_of, send_within, topic_of
from gatewayd.wire.values import refuse, valid_text

_NAME = "/gateway.v1.AgentService/"
_SAVED = "saved:"
MAX_KEY = 200
"""Longest idempotency key of a published message, in characters."""
MOST_NAMED = 1000
"""Instances that one request may name."""


class MessageCalls:
    """Serves `PublishMessage`, `ListAgentInstances`, `SaveState` and `LoadState`, and the messages of workers."""

    def __init__(
        self,
        *,
        guard: Guard,
        engine: MessageEngine,
        speaking: Speaking,
        publications: Publications,
        rates: Rates,
    ) -> None:
        self._guard = guard
        self._engine = engine
        self._speaking = speaking
        self._publications = publications
        self._rates = rates

    async def PublishMessage(  # noqa: N802
        self, request: pb.PublishMessageRequest, context: Context
    ) -> pb.PublishMessageResponse:
        async def run(principal: Principal) -> pb.PublishMessageResponse:
            topic = topic_of(request)
            data_type, text = content_of(request)
            if request.call_id:
                said = workers.PublishMessage("", request.call_id, str(topic), text, data_type)
                return await self._published_by_worker(request, principal, said)
            refuse_client(request)
            heard = sorted(self._engine.agents_for(topic))
            principal.require_all(Action.SEND, heard, f"every agent that hears the topic {str(topic)!r}")
            self._rates.send(principal.id)
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
        self, request: pb.PublishMessageRequest, principal: Principal, message: workers.PublishMessage
    ) -> pb.PublishMessageResponse:
        for field in ("idempotency_key", "correlation_id"):
            if getattr(request, field):
                raise refuse(field, "does not go with `call_id`")
        call = self._speaking.begin_publishing(message, principal, _client_of(request))
        return pb.PublishMessageResponse(count=await self._speaking.publish(message, call))

    async def sent_by_worker(
        self, request: pb.SendMessageRequest, context: Context, principal: Principal
    ) -> pb.SendMessageResponse:
        """`SendMessage` with a `call_id`."""
        send = send_within(request)
        call = self._speaking.begin(send, principal, _client_of(request))
        with self._guard.waits.of(principal):
            content = await self._speaking.ask(send, call, time_left(context))
        return pb.SendMessageResponse(
            execution_id=call.execution_id,
            session_id=call.turn.session_id,
            agent=send.agent,
            content=valid_text(content),
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


def refuse_client(request: pb.SendMessageRequest | pb.PublishMessageRequest) -> None:
    """A message of the client's own has its principal alone."""
    if request.client_id:
        raise refuse("client_id", "goes with `call_id` alone")


def _client_of(request: pb.SendMessageRequest | pb.PublishMessageRequest) -> str:
    """The client that has the call, as it says: the token tells of its principal alone, which may have several."""
    return name_of(request.client_id, "client_id", required=True)


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
