"""`AgentService`: one question, one answer."""

from gateway.v1 import agent_service_pb2, agent_service_pb2_grpc

from gatewayd.access.principals import Principal
from gatewayd.conversation.asking import ask
from gatewayd.conversation.sends import Sends
from gatewayd.routing.router import Caller
from gatewayd.rpc.convert import answer_message, send_of
from gatewayd.rpc.guard import Context, Guard
from gatewayd.rpc.patience import Rates, time_left
from gatewayd.storage.base import Store

_NAME = "/gateway.v1.AgentService/"


class AgentService(agent_service_pb2_grpc.AgentServiceServicer):
    """Serves the whole service."""

    def __init__(self, *, guard: Guard, sends: Sends, store: Store, rates: Rates) -> None:
        self._guard = guard
        self._sends = sends
        self._store = store
        self._rates = rates

    async def SendMessage(  # noqa: N802
        self, request: agent_service_pb2.SendMessageRequest, context: Context
    ) -> agent_service_pb2.SendMessageResponse:
        async def run(principal: Principal) -> agent_service_pb2.SendMessageResponse:
            send = send_of(request, time_left(context))
            self._rates.send(principal.id)
            # A unary call has no client id of its own: its session is that of the principal and the agent.
            return answer_message(await ask(self._sends, self._store, send, Caller(principal, "")))

        return await self._guard.unary(f"{_NAME}SendMessage", context, run)
