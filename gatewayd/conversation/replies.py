"""The final replies that one connection is owed; what was not handed to its transport the next connection inherits."""

from collections.abc import Callable

from gatewayd.conversation.sends import Sends, Waiting
from gatewayd.core.errors import GatewayError
from gatewayd.core.frames import Reply, ServerFrame


class Replies:
    """Owned by the requests of one connection. `put` sends a frame."""

    def __init__(self, sends: Sends, put: Callable[[ServerFrame], None]) -> None:
        self._sends = sends
        self._put = put
        self._waiting: dict[str, Waiting] = {}
        self._answered: dict[str, Waiting] = {}
        """Those whose final reply is queued, or on its way to the transport."""
        self._leaving: Callable[[], None] | None = None

    def owe(self, waiting: Waiting) -> None:
        """From now on the connection waits for this one; `give` comes after it."""
        self._waiting[waiting.request_id] = waiting

    async def give(self, waiting: Waiting) -> None:
        """Wait for a reply and send it."""
        try:
            reply = await self._sends.reply(waiting, self._put)
        except GatewayError as error:  # the row that holds the answer cannot be read
            reply = Reply(
                waiting.request_id, waiting.execution_id, waiting.message_id, "", final=True, state=None, error=error
            )
        if self._waiting.pop(waiting.request_id, None) is not None:
            self._answered[waiting.request_id] = waiting
        self._put(reply)
        self._leave_if_done()

    def leave_when_given(self, leave: Callable[[], None]) -> None:
        """Call `leave` once no reply is waited for any more; at once if none is."""
        self._leaving = leave
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._leaving is not None and not self._waiting:
            self._leaving()

    def sent(self, request_id: str) -> None:
        """It has been handed to the transport."""
        self._answered.pop(request_id, None)

    @property
    def pending(self) -> int:
        """Requests that were accepted and have no final reply yet."""
        return len(self._waiting)

    def give_up(self) -> tuple[Waiting, ...]:
        """Those whose reply was not sent, for a next connection of this client to wait for."""
        waiting = (*self._answered.values(), *self._waiting.values())
        self._answered.clear()
        self._waiting.clear()
        return waiting
