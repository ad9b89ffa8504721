"""The contract of an agent of the message engine, and of what it is made by.

**Life.** An instance is made by its type's factory at the first message to its key, exactly once however many come at
that moment; its saved state is given to it before its first message. It ends by `close`, when it is evicted (idle, its
state saved), when its type is taken back, or with the engine.

**Order.** Messages to one instance are handled one at a time in the order of their sending (`Order.SERIAL`), up to n at
once (`concurrent`), or one at a time with only the latest waiting (`latest`). Different instances run at once.

**Handling.** `on_message` is awaited for each message; what it returns is the reply to a direct message. What it raises
reaches the caller of a direct message; of a published one it is told as an event and counted. A handler is cancelled at
its next await when its deadline passes or its caller gives up; it lets `CancelledError` pass. A message that it has no
handler for is `UnhandledMessage`, raised before anything was done.

**Remote agents.** A proxy of an agent behind a wire says `takes_bytes = True` and is given `Message`s; it may reply
with one.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.value import value
from gatewayd.engine.cancellation import CancellationToken
from gatewayd.engine.context import Belonging, MessageContext
from gatewayd.engine.serializers import Serializers

_A = TypeVar("_A")


class MessageAgent(Protocol):
    """Something that handles messages. See the module's docstring."""

    def on_message(self, message: Any, ctx: MessageContext, /) -> Coroutine[Any, Any, Any]:
        """Handle one message and return the reply."""
        ...

    async def save_state(self) -> Mapping[str, Any]:
        """All that it wants to find again, as JSON knows it; {} for nothing. Not called while a handler runs."""
        ...

    async def load_state(self, state: Mapping[str, Any], /) -> None:
        """Take up what `save_state` gave."""
        ...

    async def close(self) -> None:
        """Let go of everything; no message comes any more."""
        ...


Factory = Callable[[], MessageAgent | Awaitable[MessageAgent]]
"""Makes one instance; `constructing()` says which, and in which engine."""


class StateStore(Protocol):
    """Where states are kept; the daemon gives one that stands on its store."""

    async def save(self, key: str, state: bytes) -> None:
        """Keep it under the key, in place of what was there; done when it is on disk."""
        ...

    async def load(self, key: str) -> bytes | None:
        """What was kept last; None for nothing."""
        ...


class Sending(Protocol):
    """What an agent may do with its engine of its own accord, outside a handler."""

    @property
    def serializers(self) -> Serializers: ...

    async def send(
        self,
        message: object,
        recipient: AgentId,
        *,
        sender: AgentId | None = None,
        timeout: float | None = None,
        message_id: str = "",
        cancellation_token: CancellationToken | None = None,
        idempotency_key: str = "",
    ) -> Any:
        """See `MessageEngine.send`."""
        ...

    async def publish(
        self,
        message: object,
        topic: TopicId,
        *,
        sender: AgentId | None = None,
        timeout: float | None = None,
        message_id: str = "",
        cancellation_token: CancellationToken | None = None,
    ) -> int:
        """See `MessageEngine.publish`."""
        ...


@value(frozen=True, slots=True)
class Passage:
    """The circumstances of a message that asks for admission."""

    sender: AgentId | None
    receiver: AgentId | TopicId
    message_id: str
    """'' where the engine has not given one yet."""
    belonging: Belonging


Admission = Callable[[object, Passage], Awaitable[object]]
"""Asked before a message is taken: guardrails, grants and budgets of the daemon stand here. It returns the message that
goes on. What it raises reaches the sender; `MessageRefused` drops a published message in silence, but counted."""


@value(frozen=True, slots=True)
class Construction:
    """What is being made."""

    agent: AgentId
    engine: Sending


_current: ContextVar[Construction] = ContextVar("gatewayd_engine_construction")


def constructing() -> Construction:
    """Which agent is being made and in which engine; only within a factory, `RuntimeError` elsewhere."""
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError("agents of the message engine are made by their factory, when the engine asks") from None


def within(construction: Construction, make: Callable[[], _A]) -> _A:
    """Call it so that `constructing()` answers."""
    token = _current.set(construction)
    try:
        return make()
    finally:
        _current.reset(token)


async def within_async(construction: Construction, making: Awaitable[_A]) -> _A:
    """Await it so that `constructing()` answers."""
    token = _current.set(construction)
    try:
        return await making
    finally:
        _current.reset(token)
