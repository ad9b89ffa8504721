"""What a handler may know and use besides its message."""

from typing import Any, Protocol

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.value import value
from gatewayd.engine.cancellation import CancellationToken


@value(frozen=True, slots=True)
class Belonging:
    """Whose work a message is part of; messages between agents inherit it from the one being handled."""

    session_id: str = ""
    execution_id: str = ""
    principal: str = ""

    def sent(self, sender: AgentId, receiver: AgentId | TopicId, message: object) -> "Belonging":  # noqa: ARG002
        """To what a message belongs that the handler of this one sends or publishes."""
        return self


NOBODYS = Belonging()


class MessageContext(Protocol):
    """The circumstances of one message at one agent. It is the handler's until the handler returns."""

    @property
    def agent(self) -> AgentId:
        """The instance that handles it."""
        ...

    @property
    def message_id(self) -> str:
        """The caller's, else one that the engine made."""
        ...

    @property
    def sender(self) -> AgentId | None:
        """The agent that sent it; None if no agent did."""
        ...

    @property
    def topic(self) -> TopicId | None:
        """What it was published about; None for a direct message."""
        ...

    @property
    def is_rpc(self) -> bool:
        """Whether somebody waits for the reply."""
        ...

    @property
    def cancellation_token(self) -> CancellationToken:
        """Cancelled when nobody wants this handled any more; the handler's next await raises `CancelledError` too."""
        ...

    @property
    def deadline(self) -> float:
        """By the monotonic clock: from then on nobody waits, and the handler is cancelled."""
        ...

    @property
    def belonging(self) -> Belonging:
        """Session, execution and principal."""
        ...

    @property
    def session_id(self) -> str: ...

    @property
    def trace(self) -> str:
        """The traceparent of whatever this handler causes; '' without a trace."""
        ...

    async def send(
        self,
        message: object,
        recipient: AgentId,
        *,
        timeout: float | None = None,
        message_id: str = "",
        cancellation_token: CancellationToken | None = None,
        idempotency_key: str = "",
    ) -> Any:
        """As `MessageEngine.send`, from this agent, as part of this work and within this deadline."""
        ...

    async def publish(
        self,
        message: object,
        topic: TopicId,
        *,
        timeout: float | None = None,
        message_id: str = "",
        cancellation_token: CancellationToken | None = None,
    ) -> int:
        """As `MessageEngine.publish`, from this agent and as part of this work.

        What was published has a deadline of its own: it goes on when this handler has ended.
        """
        ...
