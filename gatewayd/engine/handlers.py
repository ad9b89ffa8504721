"""Agents written in Python: methods that handle messages by the type in their annotation.

class Clerk(HandlerAgent):
    topics = ("orders",)

    @message_handler
    async def on_order(self, message: Order, ctx: MessageContext) -> Receipt:
        stock = await ctx.send(Reserve(message.item), AgentId("stock", message.item))
        return Receipt(stock.number)
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, overload

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.engine.base import Sending, constructing
from gatewayd.engine.cancellation import CancellationToken
from gatewayd.engine.context import MessageContext
from gatewayd.engine.errors import UnknownMessageType
from gatewayd.engine.routes import Handler, Match, Routes
from gatewayd.engine.serializers import Serializers

_F = TypeVar("_F", bound=Callable[..., Coroutine[Any, Any, Any]])
_MARK = "_gatewayd_message_handler"


@overload
def message_handler(function: _F) -> _F: ...
@overload
def message_handler(*, match: Match) -> Callable[[_F], _F]: ...
def message_handler(function: _F | None = None, *, match: Match | None = None) -> _F | Callable[[_F], _F]:
    """Make a method `async def on_x(self, message: X, ctx) -> Y` the handler of messages of type X.

    X may be a union; subclasses of X are handled too unless they have a handler of their own. Of several handlers for
    one type each but the last has a `match`, and the first whose `match(message, ctx)` is true is asked.
    """

    def mark(method: _F) -> _F:
        setattr(method, _MARK, (match,))
        return method

    return mark if function is None else mark(function)


class HandlerAgent:
    """An agent with handlers. Made by a factory of the engine only, as it asks which agent it is to be."""

    topics: ClassVar[Sequence[str]] = ()
    """Topic types that a registration of the class subscribes to."""
    topic_prefixes: ClassVar[Sequence[str]] = ()
    """Likewise, every topic type that begins so."""
    takes_bytes: ClassVar[bool] = False
    _routes: ClassVar[Routes | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._routes = None

    def __init__(self) -> None:
        construction = constructing()
        self.id: AgentId = construction.agent
        self.engine: Sending = construction.engine
        self._handlers = self.routes()
        register_types(self._handlers, construction.engine.serializers)

    @classmethod
    def routes(cls) -> Routes:
        """The handlers of the class. `TypeError` for one that is not annotated or can never be asked."""
        if cls._routes is None:
            marked = {
                name: getattr(cls, name)
                for base in reversed(cls.__mro__)
                for name in vars(base)
                if hasattr(getattr(cls, name, None), _MARK)
            }
            handlers = [Handler.of(each, _parameter(each), getattr(each, _MARK)[0]) for each in marked.values()]
            cls._routes = Routes(cls.__qualname__, handlers)
        return cls._routes

    def on_message(self, message: Any, ctx: MessageContext, /) -> Coroutine[Any, Any, Any]:
        """Hand the message to its handler; `UnhandledMessage`."""
        call = self._handlers.direct.get(type(message)) or self._handlers.handler(message, ctx)
        return call(self, message, ctx)

    async def send(
        self,
        message: object,
        recipient: AgentId,
        *,
        timeout: float | None = None,
        cancellation_token: CancellationToken | None = None,
    ) -> Any:
        """Send of its own accord; within a handler, `ctx.send` keeps session, deadline and trace."""
        return await self.engine.send(
            message, recipient, sender=self.id, timeout=timeout, cancellation_token=cancellation_token
        )

    async def publish(
        self, message: object, topic: TopicId, *, cancellation_token: CancellationToken | None = None
    ) -> int:
        """Publish of its own accord; within a handler, `ctx.publish` keeps session and trace."""
        return await self.engine.publish(message, topic, sender=self.id, cancellation_token=cancellation_token)

    async def save_state(self) -> Mapping[str, Any]:
        """Nothing, unless overridden."""
        return {}

    async def load_state(self, state: Mapping[str, Any], /) -> None:
        """To be overridden together with `save_state`."""

    async def close(self) -> None:
        """Nothing to let go of, unless overridden."""


Function = Callable[[Any, MessageContext], Coroutine[Any, Any, Any]]


class FunctionAgent(HandlerAgent):
    """An agent that is one function `async def handle(message: X, ctx) -> Y`."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        handler = Handler.of(function, _parameter(function, 0))
        self._handlers = Routes(getattr(function, "__qualname__", "function"), [handler])
        register_types(self._handlers, self.engine.serializers)
        self._function = function

    def on_message(self, message: Any, ctx: MessageContext, /) -> Coroutine[Any, Any, Any]:
        self._handlers.handler(message, ctx)
        return self._function(message, ctx)


def register_types(routes: Routes, serializers: Serializers) -> None:
    """Let the messages of these handlers be read from bytes, as far as their types have a written form."""
    for annotation in routes.annotations:
        try:
            serializers.register(annotation)
        except UnknownMessageType:  # a class that has no written form: it is for messages within the process
            continue


def _parameter(function: Callable[..., Any], position: int = 1) -> str:
    """The name of the message's parameter. `TypeError` where the signature is not that of a handler."""
    code = getattr(function, "__code__", None)
    names: tuple[str, ...] = () if code is None else code.co_varnames[: code.co_argcount]
    if len(names) != position + 2:
        raise TypeError(f"{function!r} is no handler: it takes {'self, ' * position}message, ctx")
    return names[position]
