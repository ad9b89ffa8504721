"""The SDK for commands that stay on the line: a loop in a thread of its own, so that the terminal may block.

`readline` blocks the main thread, and the connection has to be kept up meanwhile. Ctrl-C reaches the main thread; it
leaves `call` and `each` as KeyboardInterrupt while the loop goes on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from gatewayctl.asked import LOOK
from gatewayctl.client import Answer, Client, GatewayError
from gatewayctl.refusal import failure_of_error

if TYPE_CHECKING:
    from gateway.v1.agent_service_pb2 import SendMessageRequest

    from gatewayctl.cli import Ctl
    from gatewayctl.questions import Dialogue

T = TypeVar("T")

__all__ = ["Live"]


class Live:
    """A connected client behind blocking calls. Failure instead of GatewayError."""

    def __init__(self, ctl: Ctl) -> None:
        self.address, token = ctl.target()
        self._has_token = token is not None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gatewayctl-loop", daemon=True)
        tls, timeout = ctl.tls(self.address), ctl.timeout or 10.0
        self.client = Client(self.address.text, token=token or "", tls=tls, connect_timeout=0, timeout=timeout)

    def __enter__(self) -> Live:
        self._thread.start()
        try:
            self.call(self.client.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        try:
            self.call(self.client.close())
        finally:
            self._stop()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it on the loop and wait. An interrupt of the waiting cancels the work."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except GatewayError as error:
            raise failure_of_error(error, self.address, has_token=self._has_token) from None
        except BaseException:
            future.cancel()
            raise

    def beside(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run it on the loop and do not wait; whoever begins it cancels it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def each(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The items, one by one, as they come."""
        while True:
            try:
                yield self.call(_next(items))
            except _Over:
                return

    async def ask(self, request: SendMessageRequest, timeout: float | None) -> Answer:
        """Begin a streamed answer."""
        return self.client.stream(
            request.agent,
            request.text,
            channel=request.channel,
            context=request.context,
            session_id=request.session_id,
            idempotency_key=request.idempotency_key,
            timeout=timeout,
        )

    def begun(self, answer: Dialogue | None) -> tuple[str, bool]:
        """The execution that answers, once it is accepted; that it goes on. Empty if that takes too long."""
        try:
            return (self.call(asyncio.wait_for(answer.execution_id(), LOOK)) if answer is not None else ""), False
        except TimeoutError:
            return "", False

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self._loop.close()


class _Over(Exception):
    """StopAsyncIteration cannot cross a future."""


async def _next(items: AsyncIterator[T]) -> T:
    try:
        return await anext(items)
    except StopAsyncIteration:
        raise _Over from None
