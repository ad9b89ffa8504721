"""How a bot of the platform `sim` reaches its network: in this process, or over a unix socket.

On the socket each side writes JSON objects, one a line of at most 1 MiB: `{"id": 1, "do": "poll", "token": …}` is
answered by `{"id": 1, "ok": …}` or `{"id": 1, "status": 409, "reason": …}`. Answers come in any order. The serving
side is `gatewayd.testing.sim_platform`. This is the only module of channels that opens sockets.
"""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final, Protocol

from gatewayd.channels.sim_network import SimPlatform
from gatewayd.channels.sim_values import Sending, SimCut, SimRefused, SimUnreachable, Update
from gatewayd.core.clock import Clock
from gatewayd.service import TaskSet

MAX_LINE: Final = 1 << 20
"""Bytes of one line, both ways."""
MAX_CALLS: Final = 1000
"""Calls that wait for an answer on one connection; one more waits for its turn."""
_PATIENCE: Final = 30.0
"""Seconds that an answer may take beyond what the call asks for."""
_SENDING: Final = tuple(field.name for field in fields(Sending))
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class SimLink(Protocol):
    """One bot's way to the network. Raises `SimRefused`, `SimUnreachable` (nothing was done) or `SimCut`."""

    async def hello(self) -> None:
        """Check the token."""
        ...

    async def poll(self, timeout: float) -> list[Update]:
        """What is not acknowledged, or [] after `timeout` seconds."""
        ...

    async def ack(self, ids: Sequence[str]) -> None: ...

    async def send(self, sending: Sending) -> str:
        """Returns the message's id."""
        ...

    async def close(self) -> None:
        """Let go of the connection, and with it of the right to poll."""
        ...


class InProcessLink:
    """To a network in this process."""

    def __init__(self, platform: SimPlatform, token: str) -> None:
        self._platform = platform
        self._token = token
        self._connection = platform.connect()

    async def hello(self) -> None:
        await self._platform.hello(self._token)

    async def poll(self, timeout: float) -> list[Update]:
        return await self._platform.poll(self._token, self._connection, timeout)

    async def ack(self, ids: Sequence[str]) -> None:
        await self._platform.ack(self._token, ids)

    async def send(self, sending: Sending) -> str:
        return await self._platform.send(self._token, sending)

    async def close(self) -> None:
        self._platform.release(self._connection)


class SocketCaller:
    """Calls over one connection, many at a time; connects when first needed and again after it was cut."""

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._writer: asyncio.StreamWriter | None = None
        self._reading = TaskSet(f"sim link {path}")
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._calls = 0
        self._lines: list[bytes] = []
        self._slots = asyncio.Semaphore(MAX_CALLS)
        self._connecting = asyncio.Lock()

    async def call(self, do: str, patience: float = 0.0, **arguments: object) -> Any:
        """Ask, and return what was answered; `patience` is the time in seconds that the call itself may take."""
        async with self._slots:
            writer = await self._connected()
            self._calls += 1
            number = self._calls
            line = encode({"id": number, "do": do, **arguments})
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._waiting[number] = answer
            try:
                async with self._clock.timeout(patience + _PATIENCE):
                    self._put(writer, line)
                    await writer.drain()
                    return await answer
            except TimeoutError:
                raise SimCut("no answer came in time") from None
            except ConnectionError as error:
                raise SimCut(str(error) or "the connection was cut") from None
            finally:
                self._waiting.pop(number, None)

    async def close(self) -> None:
        """Cut the connection; calls that wait are told."""
        await self._reading.close()
        self._lose()

    def _put(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        """What is asked in one turn of the loop goes out in one write."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush, writer)
        self._lines.append(line)

    def _flush(self, writer: asyncio.StreamWriter) -> None:
        lines, self._lines = self._lines, []
        if not writer.is_closing():
            writer.write(b"".join(lines))

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is not None and not self._writer.is_closing():
                return self._writer
            await self.close()
            try:
                async with self._clock.timeout(_PATIENCE):
                    reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_LINE)
            except (OSError, TimeoutError) as error:
                raise SimUnreachable(f"nobody answers at {self._path}: {error}") from None
            self._writer = writer
            self._reading = TaskSet(f"sim link {self._path}")
            self._reading.start(self._read(reader), name="reading")
            return writer

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._settle(decode(line))
        except (OSError, ValueError):
            pass  # a broken connection, a line without end or one that is no JSON: all the same to the callers
        finally:
            self._lose()

    def _settle(self, answer: dict[str, Any]) -> None:
        waiting = self._waiting.get(answer.get("id", 0))
        if waiting is None or waiting.done():
            return
        if "ok" in answer:
            waiting.set_result(answer["ok"])
        elif answer.get("status"):
            waiting.set_exception(
                SimRefused(int(answer["status"]), str(answer.get("reason", "")), answer.get("retry_after"))
            )
        else:
            waiting.set_exception(SimCut("the answer makes no sense"))

    def _lose(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._writer.close()
            self._writer = None
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(SimCut("the connection was cut"))


class SocketLink:
    """To a network in another process, which outlives this one."""

    def __init__(self, path: str, token: str, clock: Clock) -> None:
        self._caller = SocketCaller(path, clock)
        self._token = token

    async def hello(self) -> None:
        await self._caller.call("hello", token=self._token)

    async def poll(self, timeout: float) -> list[Update]:
        answer = await self._caller.call("poll", timeout, token=self._token, timeout=timeout)
        try:
            return [Update(**each) for each in answer]
        except TypeError as error:
            raise SimCut(f"the answer makes no sense: {error}") from None

    async def ack(self, ids: Sequence[str]) -> None:
        await self._caller.call("ack", token=self._token, ids=list(ids))

    async def send(self, sending: Sending) -> str:
        said = {name: getattr(sending, name) for name in _SENDING}
        return str(await self._caller.call("send", token=self._token, sending=said))

    async def close(self) -> None:
        await self._caller.close()


def encode(value: dict[str, object]) -> bytes:
    """One line."""
    return _to_json(value).encode("utf-8", "surrogatepass") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """What a line says; `ValueError` when it is no JSON object."""
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
