"""Requests through the gateway and their answers, to another client and to a remote agent.

A request is a CUSTOM event with `target`, the answer another one with the request's correlation id; both are ephemeral.
Beside it stands AutoGen's `send_message` between two of its own worker runtimes through its host, of which nothing is
kept either. Ours is measured by the load's raw clients, which is what the gateway can do, and by two of our own SDK's,
as AutoGen's is. What is more than that, an execution and a message within one, is measured beside it.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gateway.v1 import event_pb2, event_service_pb2

from bench.events.autogen import PYTHON, Autogen
from bench.events.envelope import PAYLOAD_BYTES, addressed_entry, event_filter
from bench.events.gateway import Gateway, GatewayClients
from bench.events.load import trouble
from bench.events.talk import Talk
from bench.load import Round, percentile, summary
from bench.processes import ROOT, Running, WrongAnswer, environment
from bench.report import Row
from gatewayctl.sdk.publisher import MAX_IN_FLIGHT

IN_FLIGHT = (1, 64)
PROGRAMS = {"SDK": "sdk_requests", "worker": "worker_requests", "agents": "agent_requests"}
"""Our clients that are processes of their own, and their modules."""
WHAT = {
    "raw": "request and answer between two clients (raw clients)",
    "events": "request to a remote agent by an event, and its answer (raw clients)",
    "SDK": "request and answer between two clients (SDK)",
    "worker": "request to a remote agent and its answer (SDK)",
    "agents": "message between agents of two workers, and its reply (SDK)",
}
DURABLE = {
    "worker": "yes, each an execution with fsync (peer: no)",
    "agents": "its execution is, and that it was said (peer: no)",
}
TARGETED = ("raw", "events")
"""What is like the peer's. The target is for requests; that one is recorded has a price, and a row that tells it."""
TARGET, AIM = 8.0, 20.0
AIM_P99 = 3.0
"""Milliseconds with 64 in flight."""
ANSWER = 60.0
"""Seconds that one answer may take."""
WARM = 0.3
END = 5.0
"""Seconds that clients may take to end before they are killed."""

Ask = Callable[[int, float], Coroutine[Any, Any, Round]]
"""So many requests at a time for so many seconds."""


class Mouth:
    """Sends what is ready in one turn of the loop in one frame, a few frames under way, as the SDK does."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._ready: list[bytes] = []
        self._frames = 0
        self._scheduled = False

    def say(self, one: bytes) -> None:
        """Send an entry soon."""
        self._ready.append(one)
        if not self._scheduled and self._frames < MAX_IN_FLIGHT:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._scheduled = False
        if self._ready and self._frames < MAX_IN_FLIGHT:
            ready, self._ready = self._ready, []
            self._frames += 1
            self._talk.publish(ready).add_done_callback(self._answered)

    def _answered(self, _answer: object) -> None:
        self._frames -= 1
        self._send()


def _events(message: bytes) -> list[event_pb2.Event]:
    delivery = event_service_pb2.ConnectResponse.FromString(message).delivery
    return [one for one in delivery.events if one.target != one.stream_id]  # the others are heartbeats


class Raw:
    """Two raw clients: one asks, the other answers with what it was asked.

    The other is asked by its name, or as a worker of an agent by the name of that.
    """

    def __init__(self, clients: GatewayClients, cpu: Callable[[], float], agent: str = "") -> None:
        self._clients = clients
        self._agent = agent
        self._target = agent or "answerer"
        self._cpu = cpu
        self._waiting: dict[str, tuple[float, bytes]] = {}
        self._waits: list[float] = []
        self._asked = self._answers = 0
        self._going = False

    async def join(self) -> None:
        """Connect both."""
        asker, answerer = await self._clients.talk("asker"), await self._clients.talk("answerer")
        self._asker, self._answerer = Mouth(asker), Mouth(answerer)
        asker.on_delivery = self._on_answers
        answerer.on_delivery = self._on_questions
        if self._agent:
            await answerer.request(register_agent=event_service_pb2.RegisterAgent(agent=self._agent))
        else:
            for talk in (asker, answerer):
                await talk.subscribe("mine", event_filter(""))

    def _on_questions(self, message: bytes) -> None:
        for one in _events(message):
            self._answers += 1
            self._answerer.say(addressed_entry(one.custom.content, self._answers, 2, "asker", one.correlation_id))

    def _on_answers(self, message: bytes) -> None:
        now = time.perf_counter()
        for one in _events(message):
            began, said = self._waiting.pop(one.correlation_id)
            if one.custom.content != said:
                raise WrongAnswer(f"asked {said!r}, answered {one.custom.content!r}")
            self._waits.append(now - began)
            if self._going:
                self._ask()

    def _ask(self) -> None:
        self._asked += 1
        said = str(self._asked).encode().ljust(PAYLOAD_BYTES)
        name = str(self._asked)
        self._waiting[name] = (time.perf_counter(), said)
        self._asker.say(addressed_entry(said, self._asked, 1, self._target, name))

    async def ask(self, in_flight: int, seconds: float) -> Round:
        """See `Ask`."""
        self._waits.clear()
        self._going = True
        with trouble():
            for _ in range(in_flight):
                self._ask()
            began, used = time.perf_counter(), self._cpu()
            await asyncio.sleep(seconds)
            took, used, done = time.perf_counter() - began, self._cpu() - used, len(self._waits)
            self._going = False
            async with asyncio.timeout(ANSWER):
                while self._waiting:
                    await asyncio.sleep(0.002)
        return Round(done, took, used, tuple(self._waits[:done]))


@asynccontextmanager
async def _server(arm: Gateway | Autogen) -> AsyncIterator[Running]:
    with TemporaryDirectory(prefix="bench-") as home:
        server = arm.start(Path(home))
        running = await asyncio.to_thread(server.__enter__)
        try:
            yield running
        finally:
            await asyncio.to_thread(server.__exit__, None, None, None)


@asynccontextmanager
async def _raw(agent: str = "") -> AsyncIterator[Ask]:
    async with _server(Gateway()) as running:
        clients = Gateway().clients(running)
        raw = Raw(clients, running.cpu, agent)
        await raw.join()
        try:
            yield raw.ask
        finally:
            clients.close()


@asynccontextmanager
async def _program(arm: Gateway | Autogen, command: Callable[[Running], list[str]]) -> AsyncIterator[Ask]:
    """Clients in a process of their own, which take orders line by line and answer in JSON."""
    async with _server(arm) as running:
        process = await asyncio.create_subprocess_exec(
            *command(running),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment(running.home, {"PYTHONPATH": str(ROOT)} if isinstance(arm, Gateway) else {}),
            limit=64 << 20,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        async def answer() -> dict[str, Any]:
            async with asyncio.timeout(ANSWER):
                line = await stdout.readline()
            if not line:
                raise WrongAnswer(f"the clients of {arm.name} ended")
            said: dict[str, Any] = json.loads(line)
            return said

        async def ask(in_flight: int, seconds: float) -> Round:
            used = running.cpu()
            stdin.write(f"{in_flight} {seconds}\n".encode())
            said = await answer()
            return Round(len(said["waits"]), said["seconds"], running.cpu() - used, tuple(said["waits"]))

        try:
            await answer()
            yield ask
        finally:
            stdin.close()
            try:
                # What ends by itself leaves nothing behind that its server would wait for.
                async with asyncio.timeout(END):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


def _own_command(module: str) -> Callable[[Running], list[str]]:
    def command(running: Running) -> list[str]:
        token = str(running.home / "state" / "token")
        return [sys.executable, "-m", f"bench.events.{module}", "--port", str(running.port), "--token-file", token]

    return command


def _autogen_command(running: Running) -> list[str]:
    return [str(PYTHON), str(ROOT / "bench/peers/autogen_requests.py"), "--port", str(running.port)]


async def rows(*, rounds: int, seconds: float, with_peers: bool) -> list[Row]:
    """A row for each number in flight, by raw clients and by the SDK's."""
    found = []
    async with AsyncExitStack() as stack:
        arms: dict[str, Ask] = {
            "raw": await stack.enter_async_context(_raw()),
            "events": await stack.enter_async_context(_raw("echo")),
        }
        for name, module in PROGRAMS.items():
            arms[name] = await stack.enter_async_context(_program(Gateway(), _own_command(module)))
        if with_peers and not Autogen().missing():
            arms["AutoGen"] = await stack.enter_async_context(_program(Autogen(), _autogen_command))
        for in_flight in IN_FLIGHT:
            measured: dict[str, list[Round]] = {name: [] for name in arms}
            for ask in arms.values():
                await ask(in_flight, WARM)
            for _ in range(rounds):
                for name, ask in arms.items():
                    measured[name].append(await ask(in_flight, seconds))
            found += [_row(name, in_flight, measured) for name in WHAT]
    return found


def _row(name: str, in_flight: int, measured: Mapping[str, list[Round]]) -> Row:
    ours, theirs = measured[name], measured.get("AutoGen", [])
    ratio = statistics.median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True)) if theirs else 0.0
    p99 = percentile([wait for each in ours for wait in each.waits], 0.99) * 1000
    target = in_flight == IN_FLIGHT[-1] and name in TARGETED
    return Row(
        WHAT[name],
        summary(ours),
        f"AutoGen host, its own clients {summary(theirs)}" if theirs else "no peer",
        ratio,
        f"≥ {TARGET:g}× AutoGen host (aim {AIM:g}×, p99 {AIM_P99:g} ms)" if target else "–",
        (ratio >= TARGET if theirs else None) if target else True,
        durable=DURABLE.get(name, "no"),
        authenticated="yes (peer: no)",
        in_flight=str(in_flight),
        processes="1 + load" if name in ("raw", "events") else "1 + 1 client process (peer: the same)",
        note=f"{len(ours)} rounds; p99 {p99:.2f} ms; every answer compared with its question",
    )
