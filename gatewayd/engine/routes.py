"""Which handler of an agent takes a message: by the annotated type, its subclasses included, then by `match`."""

import types
import typing
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from gatewayd.core.value import value
from gatewayd.engine.context import MessageContext
from gatewayd.engine.errors import UnhandledMessage

Match = Callable[[Any, MessageContext], bool]
_REMEMBERED = 1024
"""Message types whose handlers are remembered; beyond that (types made while running) all are looked for anew."""


@value(frozen=True, slots=True)
class Handler:
    """One handler: an async callable with the message types that it takes."""

    call: Callable[..., Coroutine[Any, Any, Any]]
    annotations: tuple[Any, ...]
    """What it takes, a union taken apart."""
    match: Match | None = None

    @classmethod
    def of(cls, function: Callable[..., Any], parameter: str, match: Match | None = None) -> "Handler":
        """From the annotation of that parameter. `TypeError` without one."""
        hints = typing.get_type_hints(function)
        if parameter not in hints:
            raise TypeError(f"{function.__qualname__} does not say by an annotation which messages it takes")
        return cls(function, tuple(_apart(hints[parameter])), match)


class Routes:
    """The handlers of one class of agents, in the order of their definition."""

    def __init__(self, owner: str, handlers: Sequence[Handler]) -> None:
        self._by_type: dict[type, list[Handler]] = {}
        self._found: dict[type, tuple[Handler, ...]] = {}
        self.direct: dict[type, Callable[..., Coroutine[Any, Any, Any]]] = {}
        """Message types with one handler that takes every message of the type; for the hot path."""
        self.annotations = tuple(dict.fromkeys(each for handler in handlers for each in handler.annotations))
        for handler in handlers:
            for kind in dict.fromkeys(_runtime(each) for each in handler.annotations):
                others = self._by_type.setdefault(kind, [])
                if any(other.match is None for other in others):
                    raise TypeError(
                        f"{owner}: {handler.call.__qualname__} is never asked, an earlier handler takes all"
                    )
                others.append(handler)

    def handler(self, message: object, ctx: MessageContext) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The first that takes it; `UnhandledMessage`."""
        kind = type(message)
        found = self._found.get(kind)
        if found is None:
            found = self._look(kind)
        for handler in found:
            if handler.match is None or handler.match(message, ctx):
                return handler.call
        raise unhandled(message, ctx)

    def _look(self, kind: type) -> tuple[Handler, ...]:
        found = tuple(handler for each in kind.__mro__ for handler in self._by_type.get(each, ()))
        if len(self._found) >= _REMEMBERED:
            self._found, self.direct = {}, {}
        self._found[kind] = found
        if found and found[0].match is None:
            self.direct[kind] = found[0].call
        return found


def unhandled(message: object, ctx: MessageContext) -> UnhandledMessage:
    """The verdict that this agent has no handler for the message."""
    kind = type(message).__qualname__
    return UnhandledMessage(f"{ctx.agent} has no handler for {kind}", metadata={"agent": str(ctx.agent)})


def _apart(annotation: Any) -> Iterable[Any]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for each in typing.get_args(annotation):
            yield from _apart(each)
    else:
        yield type(None) if annotation is None else annotation


def _runtime(annotation: Any) -> type:
    """The class that messages of that annotation have."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _runtime(typing.get_args(annotation)[0])
    if annotation is Any:
        return object
    if typing.is_typeddict(annotation):
        return dict
    kind = origin or annotation
    if not isinstance(kind, type):
        raise TypeError(f"{annotation!r} is no type of messages")
    return kind
