"""The chat network of the platform `sim` as a process of its own, and what its users do, from a test.

    python -m gatewayd.testing.sim_platform --socket /tmp/sim.sock --fault slow=10:0.5

It outlives every daemon that talks to it, so it can tell what a killed one had sent. `SimUsers` talks to it from a
test; `serving` serves a network from within one. The protocol is that of `gatewayd.channels.sim_link`.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from gatewayd.channels.sim_link import MAX_CALLS, MAX_LINE, SocketCaller, decode, encode
from gatewayd.channels.sim_network import SimPlatform
from gatewayd.channels.sim_values import Sending, Sent, SimCut, SimRefused
from gatewayd.core.clock import Clock, SystemClock, SystemRandomness
from gatewayd.service import TaskSet

_PAGE: Final = 50
"""Sends in one answer: fifty of the longest fit a line."""


class SimUsers:
    """The users and the ears of a network in another process. One connection; `close` it."""

    def __init__(self, path: str, clock: Clock | None = None) -> None:
        self._caller = SocketCaller(path, clock or SystemClock())

    async def say(
        self,
        chat: str,
        peer: str,
        text: str,
        context: str = "dm",
        *,
        token: str = "",
        mentioned: bool = False,
        thread: str = "",
    ) -> str:
        """Say something to the bot of that token; returns the update's id."""
        details = {"context": context, "mentioned": mentioned, "thread": thread}
        answer = await self._caller.call("say", chat=chat, peer=peer, text=text, token=token, details=details)
        return str(answer)

    async def heard(self, chat: str = "", *, after: int = 0) -> list[Sent]:
        """What bots said (in one chat), in order, from number `after` on."""
        found: list[Sent] = []
        while page := await self._caller.call("heard", chat=chat, after=after, limit=_PAGE):
            found += [Sent(**each) for each in page]
            after = found[-1].number
        return found

    async def fault(self, name: str, count: int = 1, value: float = 0.0) -> None:
        """Plan a fault for the next `count` occasions; 0 takes it back."""
        await self._caller.call("fault", name=name, count=count, value=value)

    async def unacknowledged(self, token: str = "") -> int:
        """Updates that the bot has not taken."""
        return int(await self._caller.call("unacknowledged", token=token))

    async def wait_heard(self, count: int, chat: str = "", *, timeout: float = 10.0) -> list[Sent]:
        """Wait until that many were heard, and return all; `TimeoutError` after `timeout` seconds."""
        if not await self._caller.call("wait_heard", timeout, count=count, chat=chat, timeout=timeout):
            heard = len(await self.heard(chat))
            raise TimeoutError(f"{heard} of {count} messages were heard in {chat or 'all chats'} within {timeout} s")
        return await self.heard(chat)

    async def wait_acknowledged(self, token: str = "", *, timeout: float = 10.0) -> None:
        """Wait until the bot has taken everything; `TimeoutError` after `timeout` seconds."""
        if not await self._caller.call("wait_acknowledged", timeout, token=token, timeout=timeout):
            raise TimeoutError(f"{await self.unacknowledged(token)} updates are not acknowledged after {timeout} s")

    async def close(self) -> None:
        await self._caller.close()


class _Visitor:
    """One connection to the network: a bot's or a user's."""

    def __init__(self, platform: SimPlatform, writer: asyncio.StreamWriter) -> None:
        self._platform = platform
        self._writer = writer
        self._id = platform.connect()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Answer until the other side leaves, a line makes no sense, or a planned fault cuts the connection."""
        slots = asyncio.Semaphore(MAX_CALLS)
        try:
            async with asyncio.TaskGroup() as calls:
                while line := await reader.readline():
                    await slots.acquire()
                    calls.create_task(self._answer(decode(line), slots))
                raise SimCut("the visitor has left")  # what it asked for and did not wait for ends with it
        except* (OSError, ValueError):
            pass
        finally:
            self._platform.release(self._id)
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    async def _answer(self, request: dict[str, Any], slots: asyncio.Semaphore) -> None:
        number, do = request.pop("id", 0), str(request.pop("do", ""))
        try:
            answer: dict[str, object] = {"id": number, "ok": await self._do(do, request)}
        except SimRefused as error:
            answer = {"id": number, "status": error.status, "reason": error.reason, "retry_after": error.retry_after}
        except (TypeError, KeyError) as error:
            answer = {"id": number, "status": 400, "reason": f"{do}: {error}"}
        finally:
            slots.release()
        self._writer.write(encode(answer))
        await self._writer.drain()

    async def _do(self, do: str, asked: dict[str, Any]) -> object:
        platform = self._platform
        match do:
            case "hello":
                await platform.hello(**asked)
            case "poll":
                return [asdict(each) for each in await platform.poll(poller=self._id, **asked)]
            case "ack":
                await platform.ack(**asked)
            case "send":
                return await platform.send(asked["token"], Sending(**asked["sending"]))
            case "say":
                details = asked.pop("details", {})
                return platform.say(**asked, **details)
            case "fault":
                platform.fault(**asked)
            case "heard":
                return [asdict(each) for each in platform.heard(**asked)]
            case "unacknowledged":
                return platform.unacknowledged(**asked)
            case "wait_heard" | "wait_acknowledged":
                try:
                    await (platform.wait_heard if do == "wait_heard" else platform.wait_acknowledged)(**asked)
                except TimeoutError:
                    return False
            case _:
                raise SimRefused(400, f"there is nothing called {do!r} to do")
        return True


@contextlib.asynccontextmanager
async def serving(platform: SimPlatform, path: Path) -> AsyncIterator[None]:
    """Serve a network on a unix socket; at the end all connections are cut and the socket is removed."""
    visitors = TaskSet("sim platform")

    def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitors.start(_Visitor(platform, writer).serve(reader), name="visitor")

    await asyncio.to_thread(path.unlink, missing_ok=True)
    server = await asyncio.start_unix_server(welcome, path, limit=MAX_LINE)
    try:
        yield
    finally:
        server.close()
        await visitors.close()
        await asyncio.to_thread(path.unlink, missing_ok=True)


async def _main(arguments: argparse.Namespace) -> None:
    platform = SimPlatform(SystemClock(), SystemRandomness())
    for name, count, value in arguments.fault:
        platform.fault(name, count, value)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with serving(platform, arguments.socket):
        sys.stdout.write(f"listening {arguments.socket}\n")
        sys.stdout.flush()
        await ended.wait()


def _fault(text: str) -> tuple[str, int, float]:
    """`NAME=COUNT` or `NAME=COUNT:SECONDS`."""
    name, _, plan = text.partition("=")
    count, _, value = plan.partition(":")
    return name, int(count), float(value or 0)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; prints `listening PATH` once it does."""
    parser = argparse.ArgumentParser(prog="python -m gatewayd.testing.sim_platform", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="path of the unix socket")
    parser.add_argument("--fault", type=_fault, action="append", default=[], metavar="NAME=COUNT[:SECONDS]")
    asyncio.run(_main(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
