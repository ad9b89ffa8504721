"""`AgentService`: one question, one answer."""

from gateway.v1 import agent_service_pb2

from gatewayd.access.principals import Principal
from gatewayd.conversation.asking import ask
from gatewayd.conversation.sends import Sends
from gatewayd.conversation.speaking import Speaking
from gatewayd.engine.engine import MessageEngine
from gatewayd.routing.published import Publications
from gatewayd.routing.router import Caller
from gatewayd.rpc.contract import AgentServiceServicer
from gatewayd.rpc.convert import answer_message, send_of
from gatewayd.rpc.guard import Context, Guard, traceparent_of
from gatewayd.rpc.messages import MessageCalls, refuse_client
from gatewayd.rpc.patience import Rates, time_left
from gatewayd.storage.base import Store
from gatewayd.wire.values import refuse

_NAME = "/gateway.v1.AgentService/"


class AgentService(MessageCalls, AgentServiceServicer):
    """Serves the whole service."""

    def __init__(
        self,
        *,
        guard: Guard,
        sends: Sends,
        speaking: Speaking,
        store: Store,
        engine: MessageEngine,
        publications: Publications,
        rates: Rates,
    ) -> None:
        super().__init__(guard=guard, engine=engine, speaking=speaking, publications=publications, rates=rates)
        self._sends = sends
        self._store = store

    async def SendMessage(  # noqa: N802
        self, request: agent_service_pb2.SendMessageRequest, context: Context
    ) -> agent_service_pb2.SendMessageResponse:
        async def run(principal: Principal) -> agent_service_pb2.SendMessageResponse:
            if request.call_id:
                return await self.sent_by_worker(request, context, principal)
            if request.key:
                raise refuse("key", "goes with `call_id` alone")
            refuse_client(request)
            send = send_of(request, time_left(context), traceparent_of(context))
            self._rates.send(principal.id)
            # A unary call has no client id of its own: its session is that of the principal and the agent.
            caller = Caller(principal, "")
            with self._guard.waits.of(principal) as wait:
                answer = await ask(
                    self._sends, self._store, send, caller, accepted=wait.goes_on, until_asked=request.until_asked
                )
            return answer_message(answer)

        return await self._guard.unary(f"{_NAME}SendMessage", context, run)
