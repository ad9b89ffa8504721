"""`client.state`: the shared state, named JSON values that executions and clients have in common."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import grpc
from gateway.v1 import state_pb2 as pb
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from gatewayctl.plain import enum_name, free_values, seconds
from gatewayctl.rpc import PACKAGE, bearer
from gatewayctl.sdk.errors import (
    ClientClosed,
    HistoryLost,
    LimitExceeded,
    StateConflict,
    Unavailable,
    from_rpc,
)
from gatewayctl.sdk.objects import is_too_deep, too_deep
from gatewayctl.sdk.pace import Backoff
from gatewayctl.system import Chance, Clock

__all__ = ["State", "StateKey"]

PAGE = 1000
ATTEMPTS = 100
"""How often `update` tries against other writers."""

_Answer = TypeVar("_Answer", bound=Message)


class _Call(Protocol):
    async def __call__(self, method: str, request: Message, answer: type[_Answer], /) -> _Answer: ...


@dataclass(frozen=True, slots=True)
class StateKey:
    """A key and what it holds."""

    key: str
    value: Any
    """None for a key that is not there (any more)."""
    version: int
    """Grows with every change, also over a deletion."""
    scope: str = "global"
    """`execution`, `stream` or `global`."""
    scope_id: str = ""
    principal: str = ""
    """Who wrote it; not told of a change that is watched."""
    time: float = 0.0
    """When it was written, in seconds since the Unix epoch."""
    expires: float | None = None
    """When it goes by itself; not told of a change that is watched."""

    @property
    def deleted(self) -> bool:
        """Whether it is not there."""
        return self.value is None

    @classmethod
    def of(cls, entry: pb.StateEntry) -> StateKey:
        """From the message of the contract."""
        return cls(
            entry.key,
            free_values(entry.value) if entry.HasField("value") else None,
            entry.version,
            enum_name(pb.StateScope.DESCRIPTOR, entry.scope),
            entry.scope_id,
            entry.principal,
            seconds(entry.update_time),
            seconds(entry.expire_time) if entry.HasField("expire_time") else None,
        )


class State:
    """Keys of an execution (`execution=ID`), of a stream (`stream=ID`), or of the whole gateway."""

    def __init__(
        self,
        call: _Call,
        channel: Callable[[], tuple[grpc.aio.Channel | None, str | None]],
        chance: Chance,
        clock: Clock,
    ) -> None:
        self._call = call
        self._channel = channel
        self._chance = chance
        self._clock = clock

    async def get(self, key: str, *, execution: str = "", stream: str = "") -> StateKey | None:
        """The key in that place; None if it is not there."""
        scope, scope_id = _place(execution, stream)
        return await self._get(pb.GetStateRequest(key=key, scope=scope, scope_id=scope_id))

    async def find(self, key: str, execution: str) -> StateKey | None:
        """The key as the execution sees it: its own, else its stream's, else the gateway's."""
        return await self._get(pb.GetStateRequest(key=key, scope_id=execution))

    async def _get(self, request: pb.GetStateRequest) -> StateKey | None:
        answer = await self._call("RuntimeService/GetState", request, pb.GetStateResponse)
        return StateKey.of(answer.entry) if answer.HasField("entry") else None

    async def keys(self, pattern: str = "", *, execution: str = "", stream: str = "") -> list[StateKey]:
        """The keys of that place that a pattern selects (`orders.*`) and this client may read, by name."""
        scope, scope_id = _place(execution, stream)
        found: list[StateKey] = []
        token = ""
        while True:
            request = pb.ListStateRequest(page_size=PAGE, page_token=token, key_pattern=pattern)
            request.scope, request.scope_id = scope, scope_id
            answer = await self._call("RuntimeService/ListState", request, pb.ListStateResponse)
            found += map(StateKey.of, answer.entries)
            token = answer.next_page_token
            if not token:
                return found

    async def set(
        self,
        key: str,
        value: Any,
        *,
        execution: str = "",
        stream: str = "",
        expected_version: int | None = None,
        ttl: float | None = None,
    ) -> StateKey:
        """Write it, for `ttl` seconds (None: for good). It is on disk when this returns.

        With `expected_version` (0: not there) StateConflict unless it is at that version. After Unavailable nothing is
        known of the write: read before trying again.
        """
        write = self.put(key, value, execution=execution, stream=stream, expected_version=expected_version, ttl=ttl)
        return (await self.transact(write))[0]

    async def delete(
        self, key: str, *, execution: str = "", stream: str = "", expected_version: int | None = None
    ) -> StateKey:
        """It is not there any more."""
        write = self.drop(key, execution=execution, stream=stream, expected_version=expected_version)
        return (await self.transact(write))[0]

    async def transact(self, *writes: pb.StateWrite) -> list[StateKey]:
        """Write up to 100 keys, all or nothing: `await state.transact(state.put("a", 1), state.drop("b"))`."""
        answer = await self._call("RuntimeService/SetState", pb.SetStateRequest(writes=writes), pb.SetStateResponse)
        return [StateKey.of(entry) for entry in answer.entries]

    def put(
        self,
        key: str,
        value: Any,
        *,
        execution: str = "",
        stream: str = "",
        expected_version: int | None = None,
        ttl: float | None = None,
    ) -> pb.StateWrite:
        """A write for `transact`."""
        scope, scope_id = _place(execution, stream)
        write = pb.StateWrite(key=key, scope=scope, scope_id=scope_id, expected_version=expected_version)
        if is_too_deep(value):
            raise too_deep("value")
        json_format.ParseDict(value, write.value)
        if ttl is not None:
            write.ttl.CopyFrom(Duration(seconds=math.floor(ttl), nanos=round(ttl % 1 * 1e9)))
        return write

    def drop(
        self, key: str, *, execution: str = "", stream: str = "", expected_version: int | None = None
    ) -> pb.StateWrite:
        """A deletion for `transact`."""
        scope, scope_id = _place(execution, stream)
        return pb.StateWrite(key=key, scope=scope, scope_id=scope_id, expected_version=expected_version, delete=True)

    async def update(
        self, key: str, change: Callable[[Any], Any], *, execution: str = "", stream: str = ""
    ) -> StateKey:
        """Read, change and write until nobody else wrote in between: `await state.update("n", lambda n: (n or 0) + 1)`.

        `change` gets None for a key that is not there, and may be called up to a hundred times; then StateConflict.
        """
        pace = Backoff(self._chance, first=0.005, most=0.5)
        for attempt in range(ATTEMPTS):
            old = await self.get(key, execution=execution, stream=stream)
            value, version = (old.value, old.version) if old else (None, 0)
            try:
                return await self.set(key, change(value), execution=execution, stream=stream, expected_version=version)
            except StateConflict:
                if attempt == ATTEMPTS - 1:
                    raise
                await self._clock.sleep(pace.next())
        raise AssertionError("unreachable")

    async def watch(self, pattern: str = "", *, execution: str = "", stream: str = "") -> AsyncIterator[StateKey]:
        """What is there, and then every change, in order: `async for key in client.state.watch("orders.>"): ...`

        It survives reconnects. What changed in between is told as it is then: each key that is another, and each that
        is gone, once; the values that it had meanwhile are not.
        """
        scope, scope_id = _place(execution, stream)
        request = pb.WatchStateRequest(key_pattern=pattern, scope=scope, scope_id=scope_id)
        known: dict[str, int] = {}
        pace = Backoff(self._chance)
        while True:
            try:
                async for one in self._watch_once(request, known):
                    pace.reset()
                    yield one
            except (Unavailable, HistoryLost) as error:
                await self._clock.sleep(pace.next(error.retry_after))
            except LimitExceeded as error:
                if error.reason != "SLOW_CONSUMER":
                    raise
                await self._clock.sleep(pace.next(error.retry_after))

    async def _watch_once(self, request: pb.WatchStateRequest, known: dict[str, int]) -> AsyncIterator[StateKey]:
        there: set[str] = set()
        async for response in self._responses(request):
            for entry in response.entries:
                there.add(entry.key)
                if _is_news(entry, known):
                    yield StateKey.of(entry)
            if response.synced:
                for key in [key for key in known if key not in there]:
                    del known[key]
                    yield StateKey(key, None, 0, enum_name(pb.StateScope.DESCRIPTOR, request.scope), request.scope_id)
            for entry in response.changes:
                if _is_news(entry, known):
                    yield StateKey.of(entry)

    async def _responses(self, request: pb.WatchStateRequest) -> AsyncIterator[pb.WatchStateResponse]:
        channel, token = self._channel()
        if channel is None:
            raise ClientClosed("the client is not open", code=1)
        invoke: Any = channel.unary_stream(
            f"/{PACKAGE}.RuntimeService/WatchState",
            request_serializer=pb.WatchStateRequest.SerializeToString,
            response_deserializer=pb.WatchStateResponse.FromString,
        )
        stream = invoke(request, metadata=bearer(token))
        try:
            async for response in stream:
                yield response
        except grpc.RpcError as error:
            raise from_rpc(error) from None
        finally:
            stream.cancel()
        raise Unavailable("the daemon ended the watch", code=14)


def _is_news(entry: pb.StateEntry, known: dict[str, int]) -> bool:
    # Another one, not a higher one: after a backup was put back, versions begin where it ended.
    if entry.version == known.get(entry.key, 0):
        return False
    if entry.HasField("value"):
        known[entry.key] = entry.version
    else:
        known.pop(entry.key, None)
    return True


def _place(execution: str, stream: str) -> tuple[pb.StateScope.ValueType, str]:
    if execution and stream:
        raise ValueError("a key is an execution's or a stream's, not both")
    if execution:
        return pb.STATE_SCOPE_EXECUTION, execution
    return (pb.STATE_SCOPE_STREAM, stream) if stream else (pb.STATE_SCOPE_GLOBAL, "")
