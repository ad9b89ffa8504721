"""`Client`: what a program holds. It owns the channel and the tasks; the work is done by the parts."""

from __future__ import annotations

import asyncio
import atexit
import os
import weakref
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, TypeVar

import grpc
from gateway.v1 import event_pb2, status_pb2
from gateway.v1 import event_service_pb2 as pb
from google.protobuf.message import Message

from gatewayctl import __version__
from gatewayctl.events import event_filter
from gatewayctl.rpc import PACKAGE, bearer
from gatewayctl.sdk.addressed import Addressed
from gatewayctl.sdk.answer import Answer, Reply
from gatewayctl.sdk.awaited import Awaited
from gatewayctl.sdk.controls import Controls
from gatewayctl.sdk.conversation import Conversation, Identity
from gatewayctl.sdk.dialling import channel_for_calls, destination, dial
from gatewayctl.sdk.emit import Emits
from gatewayctl.sdk.errors import ClientClosed, from_rpc
from gatewayctl.sdk.pace import Backoff, Ids, Tasks
from gatewayctl.sdk.publisher import Publisher
from gatewayctl.sdk.receivers import Receivers
from gatewayctl.sdk.requests import Requests
from gatewayctl.sdk.runtime import Runtime
from gatewayctl.sdk.serving import Serves, Worker
from gatewayctl.sdk.standing import Standing
from gatewayctl.sdk.state import State
from gatewayctl.sdk.subscription import BUFFER_BYTES, Gap, Subscription
from gatewayctl.sdk.topics import Members, Topics
from gatewayctl.system import Chance, Clock, SystemChance, SystemClock
from gatewayctl.tls import Tls

__all__ = ["Client"]

_Answer = TypeVar("_Answer", bound=Message)


class Client(Emits, Requests, Serves, Runtime, Controls, Standing):
    """One connection to a gateway. `async with` opens and closes it."""

    def __init__(
        self,
        address: str | None = None,
        *,
        token: str | None = None,
        tls: Tls | None = None,
        client_id: str | None = None,
        connect_timeout: float = 10.0,
        timeout: float = 10.0,
        close_timeout: float = 5.0,
        clock: Clock | None = None,
        chance: Chance | None = None,
    ) -> None:
        """`address` (unix:PATH or HOST:PORT), token and `tls` are found as gatewayctl finds them when not given.

        A `token` needs an `address`: it is sent nowhere else, and beyond this machine only with `tls`.
        `client_id` names this client among those of its principal; a second connection with the same id takes the place
        of the first, which gets ConnectionReplaced for whatever it does from then on; without one it is made up.
        `connect_timeout`: seconds that entering may try, 0 for one attempt. `timeout`: seconds for a single call.
        `close_timeout`: seconds that `close` waits for what was published.
        """
        self._address, self._token, self._tls = destination(address, token, tls, os.environ)
        self._clock, self._chance = clock or SystemClock(), chance or SystemChance()
        self._ids = Ids(self._clock, self._chance)
        self.client_id = client_id or f"py-{self._ids.new().lower()}"
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._close_timeout = close_timeout
        self._tasks = Tasks()
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._subscribed = 0
        self._channel: grpc.aio.Channel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        identity = Identity(self.client_id, f"gatewayctl/{__version__}")
        self._awaited = awaited = Awaited(self.client_id)
        self._addressed, members = Addressed(awaited.take), Members()
        self._worker = worker = Worker(self._addressed.feed)
        receivers = Receivers(awaited, worker.feed, members.feed, self._addressed.end)
        self._conversation = Conversation(self._dial, identity, self._clock, self._chance, receivers)
        self._publisher = Publisher(self._conversation, self._ids)
        self.state = State(self.call, lambda: (self._channel, self._token), self._chance, self._clock)
        start, ids = self._tasks.start, self._ids
        self.topics = Topics(self._conversation, members, self.call, start=start, ids=ids, timeout=timeout)

    async def __aenter__(self) -> Client:
        """Connect. Unavailable if nobody answers in `connect_timeout`; another GatewayError if we are refused."""
        self._loop = asyncio.get_running_loop()
        self._channel = channel_for_calls(self._address.target, self._tls)
        _open.add(self)
        self._tasks.start(self._conversation.run(), "conversation")
        self._tasks.start(self._publisher.run(), "publisher")
        self.topics.opened()
        try:
            await self._conversation.first_link(self._connect_timeout)
        except BaseException:
            await self._shut()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for the answers to what was published or acknowledged (at most `close_timeout` s), then disconnect.

        Also done when the interpreter exits, if the loop of the client can still run. Calling it again does nothing.
        """
        if self._channel is None:
            return
        try:
            async with asyncio.timeout(self._close_timeout):
                await asyncio.gather(self._publisher.flush(), self.topics.flush())
            await self._conversation.part()
        except TimeoutError:
            pass  # whoever awaits a publish gets ClientClosed below
        finally:
            await self._shut()

    @property
    def connected(self) -> bool:
        """Whether the connection is up now."""
        return self._conversation.connects > 0 and self._conversation.last_error is None

    async def call(
        self, method: str, request: Message, answer: type[_Answer], *, timeout: float | None = None
    ) -> _Answer:
        """One unary call of the contract: `await client.call("AdminService/ListAgents", request, Response)`."""
        if self._channel is None:
            raise ClientClosed("the client is not open", code=1)
        invoke: Any = self._channel.unary_unary(
            f"/{PACKAGE}.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            # While the stream is up the daemon is there: a channel that still backs off from a restart shall wait.
            result: _Answer = await invoke(
                request,
                timeout=timeout or self._timeout,
                metadata=bearer(self._token),
                wait_for_ready=self.connected,
            )
        except grpc.RpcError as error:
            raise from_rpc(error) from None
        return result

    async def status(self, *, daemon_only: bool = False) -> status_pb2.GetStatusResponse:
        """How the daemon is."""
        request = status_pb2.GetStatusRequest(daemon_only=daemon_only)
        return await self.call("AdminService/GetStatus", request, status_pb2.GetStatusResponse)

    async def send(
        self,
        agent: str,
        text: str,
        *,
        channel: str = "",
        context: int = 0,
        session_id: str = "",
        correlation_id: str = "",
        idempotency_key: str = "",
        timeout: float | None = None,
    ) -> Reply:
        """Send a message to an agent and wait for its answer; a lost connection does not lose it.

        With `channel` (and `agent` empty) the routing of that channel chooses the agent; `context` is a ChatContext.
        `timeout`: seconds to wait for the answer (DeadlineExceeded; the execution goes on), None for as long as the
        agent may take. Cancelling the waiting does not cancel the execution.
        """
        send = pb.Send(agent=agent, channel=channel, text=text, session_id=session_id)
        send.context = context  # type: ignore[assignment]
        return await self._ask(send, correlation_id, idempotency_key, timeout).wait()

    def stream(
        self,
        agent: str,
        text: str,
        *,
        channel: str = "",
        context: int = 0,
        session_id: str = "",
        correlation_id: str = "",
        idempotency_key: str = "",
        timeout: float | None = None,
    ) -> Answer:
        """Like `send`, with the text as it is produced: `async for text in client.stream("assistant", "hello")`."""
        send = pb.Send(agent=agent, channel=channel, text=text, session_id=session_id, partial_replies=True)
        send.context = context  # type: ignore[assignment]
        return self._ask(send, correlation_id, idempotency_key, timeout)

    async def cancel(self, execution_id: str, *, reason: str = "") -> None:
        """Cancel an execution that is queued, runs, is paused or waits for input."""
        await self._on_link(pb.ConnectRequest(cancel=pb.Cancel(execution_id=execution_id, reason=reason)))

    def subscribe(
        self,
        filter: event_pb2.EventFilter | None = None,  # noqa: A002 - the contract's word
        *,
        since: str = "",
        on_gap: Callable[[Gap], None] | None = None,
        drop_oldest: bool = False,
        buffer_bytes: int = BUFFER_BYTES,
        snapshot: bool = False,
    ) -> Subscription:
        """Events that the filter selects (None: all that this client may see), from now on or from behind `since`.

        It survives reconnects from its own cursor: durable events come once and in order. What is lost is told, see
        `Subscription`. `drop_oldest` lets the daemon drop the oldest events for a slow reader instead of pausing.
        `buffer_bytes` bounds what waits here for the reader, to one frame more than that. With `snapshot` the last
        delta of a text in each frame brings the whole text so far.
        """
        self._need_open()
        overflow = pb.OVERFLOW_DROP_OLDEST if drop_oldest else pb.OVERFLOW_DISCONNECT
        request = pb.Subscribe(filter=filter or event_filter(), since=since, overflow=overflow, snapshot=snapshot)
        self._subscribed += 1
        subscription = Subscription(
            self._conversation,
            f"s{self._subscribed}",
            request,
            Backoff(self._chance),
            on_gap=on_gap,
            buffer_bytes=buffer_bytes,
        )
        self._subscriptions.add(subscription)
        self._tasks.start(subscription.run(), "subscription")
        return subscription

    async def publish(self, events: event_pb2.Event | Iterable[event_pb2.Event]) -> str:
        """Publish, and return the cursor of the last durable event once it is on disk (empty: all were ephemeral).

        Concurrent calls share frames. Ids that are empty are filled in place, so that a batch whose answer was lost
        with the connection is sent again without being stored twice. Up to 1000 events are taken or refused as a
        whole. Waits while more than 8 MiB are waiting already.
        """
        self._need_open()
        return await self._publisher.publish([events] if isinstance(events, event_pb2.Event) else list(events))

    async def announce(self, events: event_pb2.Event | Iterable[event_pb2.Event]) -> int:
        """Publish up to 1000 events with a `target`, or broadcasts, and return how many clients they are addressed to.

        One that is away and expected back counts. NotFound, and nothing is published, for a target nobody is known by.
        """
        self._need_open()
        return await self._publisher.announce([events] if isinstance(events, event_pb2.Event) else list(events))

    def addressed(self) -> Addressed:
        """What is addressed to this client or to an agent that it serves: events with a target, and broadcasts."""
        return self._addressed

    def _ask(self, send: pb.Send, correlation_id: str, key: str, timeout: float | None) -> Answer:
        self._need_open()
        send.correlation_id = correlation_id
        send.idempotency_key = key or self._ids.new()
        return Answer(self._conversation, send, self._clock, timeout).begin(self._tasks.start)

    async def _on_link(self, frame: pb.ConnectRequest) -> pb.Accepted:
        self._need_open()
        async with asyncio.timeout(self._timeout):
            return await (await self._conversation.link()).request(frame)

    def _need_open(self) -> None:
        if self._channel is None:
            raise ClientClosed("the client is not open: use `async with Client() as client`", code=1)

    def _dial(self) -> tuple[Any, Callable[[], Awaitable[None]]]:
        return dial(self._address.target, self._token, self._tls)

    async def _shut(self) -> None:
        channel, self._channel = self._channel, None
        _open.discard(self)
        self._conversation.closed()
        self._publisher.closed()
        for subscription in list(self._subscriptions):
            subscription.client_closed()
        self._worker.closed()
        self.topics.closed()
        await self._tasks.stop()
        if channel is not None:
            await channel.close(grace=None)


_open: weakref.WeakSet[Client] = weakref.WeakSet()
"""Clients that nobody has closed yet: the interpreter's exit closes them."""


@atexit.register
def _close_all() -> None:
    for client in list(_open):
        if (loop := client._loop) is not None and not loop.is_closed() and not loop.is_running():
            loop.run_until_complete(client.close())
