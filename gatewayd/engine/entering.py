"""How a message enters its handler: in the form that the agent takes, and seen by those who observe it."""

from collections.abc import Coroutine
from typing import Any

from gatewayd.core.agents import Message
from gatewayd.core.tracing import Operation, Tracer
from gatewayd.engine.call import Call
from gatewayd.engine.events import MessageKind, Stage
from gatewayd.engine.news import News
from gatewayd.engine.serializers import Serializers


class Entering:
    """One per engine."""

    def __init__(self, news: News, serializers: Serializers, tracer: Tracer | None) -> None:
        self._news = news
        self._serializers = serializers
        self._tracer = tracer

    def translated(self, call: Call) -> object:
        """The message as its agent takes it: bytes for one behind a wire, an object for one in Python."""
        message = call.message
        if isinstance(message, Message):
            return self._serializers.decode(message)
        return self._serializers.encode(message, call.message_id)

    def watched(self, call: Call, message: object) -> Coroutine[Any, Any, Any]:
        """Have it handled, and tell of it."""
        agent = call.lane.agent
        assert agent is not None
        if self._news.wanted:
            kind = MessageKind.DIRECT if call.topic is None else MessageKind.PUBLISH
            self._news.stage(call, kind, Stage.DELIVER, message)
        work = agent.on_message(message, call)
        return work if self._tracer is None else self._traced(self._tracer, call, work)

    async def _traced(self, tracer: Tracer, call: Call, work: Coroutine[Any, Any, Any]) -> Any:
        attributes = {"message_id": call.message_id, "sender": str(call.sender or ""), "topic": str(call.topic or "")}
        target = str(call.lane.id)
        with tracer.span(Operation.PROCESS, target, parent=call.trace, attributes=attributes) as span:
            call.trace = span.traceparent
            return await work
