"""Traces through the daemon as it is installed: from a caller over an execution to a worker, and on to a collector."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import execution_pb2
from gateway.v1 import runtime_service_pb2 as runtime_pb
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gatewayctl.client import Call, Client
from gatewayctl.plain import enum_name
from tests.rigs.house import eventually
from tests.rigs.process import Daemon
from tests.rigs.stream import RawStream
from tests.rigs.websocket import JSON, PROTO, RawSocket, http_port

CONFIG = """
agents:
  far: {remote: true}
  echo: {model: offline/echo}
entry_points:
  ask: {agent: far}
"""
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OUTSIDE = f"00-{TRACE}-{SPAN}-01"


class Collector:
    """Takes spans as OTLP over HTTP brings them."""

    def __init__(self) -> None:
        self.spans: dict[str, Any] = {}
        self.came = asyncio.Event()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        told = ExportTraceServiceRequest.FromString(await request.read())
        for each in told.resource_spans:
            for scope in each.scope_spans:
                self.spans |= {span.name: span for span in scope.spans}
        self.came.set()
        return web.Response()

    async def until(self, *names: str) -> None:
        """Wait until spans of these names have come."""
        async with asyncio.timeout(60):
            while not self.spans.keys() >= set(names):
                self.came.clear()
                await self.came.wait()


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    found, app = Collector(), web.Application()
    app.router.add_post("/v1/traces", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server: Any = site._server
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        await runner.cleanup()


async def trigger_under(daemon: Daemon, traceparent: str) -> runtime_pb.TriggerAndWaitResponse:
    """A single call with the header."""
    async with grpc.aio.insecure_channel(daemon.address) as channel:
        call: Any = channel.unary_unary(
            "/gateway.v1.RuntimeService/TriggerAndWait",
            request_serializer=runtime_pb.TriggerAndWaitRequest.SerializeToString,
            response_deserializer=runtime_pb.TriggerAndWaitResponse.FromString,
        )
        request = runtime_pb.TriggerAndWaitRequest(trigger=runtime_pb.TriggerRequest(entry_point="ask", text="hello"))
        return await call(request, metadata=(("traceparent", traceparent),), timeout=60)


async def test_one_trace_from_the_caller_to_the_worker_and_the_collector(tmp_path: Path) -> None:
    seen: list[str] = []

    async def answer(call: Call) -> str:
        seen.append(call.traceparent)
        return await call.send("echo", call.text)

    async with collector() as spans:
        daemon = Daemon(tmp_path, CONFIG)
        daemon.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": spans.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        async with daemon, daemon.client() as client, client.serve_agent("far", answer):
            ended = await trigger_under(daemon, OUTSIDE)
            assert ended.execution.output == "hello"
            async with RawStream(daemon.address) as stream:
                await stream.hello("traced")
                frame = pb.ConnectRequest(trigger=pb.Trigger(entry_point="ask", text="again", traceparent=OUTSIDE))
                await stream.accepted(await stream.ask(frame))
                assert (await stream.take("reply", timeout=60)).reply.content == "again"
            await trigger_under(daemon, "nonsense")
            await spans.until("process far", "create echo", "send echo", "process echo", "ack echo")

    assert [text.split("-")[1] == TRACE for text in seen] == [True, True, False]
    assert len({text.split("-")[2] for text in seen} - {SPAN}) == 3
    assert {name.partition(" ")[2] for name in spans.spans} == {"far", "echo"}


async def test_without_a_tracer_a_trace_passes_through(tmp_path: Path) -> None:
    seen: list[str] = []

    async def answer(call: Call) -> str:
        seen.append(call.traceparent)
        return "well"

    async with Daemon(tmp_path, CONFIG) as daemon, daemon.client() as client, client.serve_agent("far", answer):
        await trigger_under(daemon, OUTSIDE)
        await trigger_under(daemon, "00-nonsense")
    assert seen == [OUTSIDE, ""]


async def in_state(client: Client, execution_id: str, state: str) -> None:
    async def look() -> bool:
        request = runtime_pb.GetExecutionRequest(execution_id=execution_id)
        answer = await client.call("RuntimeService/GetExecution", request, runtime_pb.GetExecutionResponse)
        return enum_name(execution_pb2.ExecutionState.DESCRIPTOR, answer.execution.state) == state

    await eventually(look)


LONG = """
agents: {far: {remote: true}}
graphs:
  long:
    entry_node: first
    nodes:
      first: {agent: far}
      ask: {kind: router, client_facing: true, prompt: "And now?"}
      second: {agent: far}
    edges: [{from: first, to: ask}, {from: ask, to: second}]
entry_points: {long: {graph: long}}
"""


@pytest.mark.parametrize("of_the_caller", [True, False])
async def test_a_trace_goes_on_after_a_wait_and_a_kill(tmp_path: Path, *, of_the_caller: bool) -> None:
    """With the caller's trace, also without a tracer; with that of the first run, where nobody gave one."""
    seen: list[str] = []

    async def answer(call: Call) -> str:
        seen.append(call.traceparent)
        return "done"

    async with collector() as spans:
        daemon = Daemon(tmp_path, LONG)
        if not of_the_caller:
            daemon.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": spans.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        async with daemon, daemon.client() as client, client.serve_agent("far", answer):
            request = runtime_pb.TriggerRequest(entry_point="long", text="x")
            metadata = (("traceparent", OUTSIDE),) if of_the_caller else ()
            async with grpc.aio.insecure_channel(daemon.address) as channel:
                call: Any = channel.unary_unary(
                    "/gateway.v1.RuntimeService/Trigger",
                    request_serializer=runtime_pb.TriggerRequest.SerializeToString,
                    response_deserializer=runtime_pb.TriggerResponse.FromString,
                )
                execution_id = (await call(request, metadata=metadata, timeout=60)).execution_id
            await in_state(client, execution_id, "input_required")
            await daemon.kill()
            await daemon.start()
            await client.inject_input(execution_id, "on", node_id="ask")
            await in_state(client, execution_id, "succeeded")

    first, second = (text.split("-") for text in seen)
    assert first[1] == second[1]
    assert (first[1] == TRACE) is of_the_caller


@pytest.mark.parametrize("door", ["grpc", JSON, PROTO])
async def test_a_connection_has_a_trace_for_what_names_none(tmp_path: Path, door: str) -> None:
    """Said when it is opened; a frame's own comes first, and what is none is left out."""
    seen: list[str] = []
    other = f"00-{'4' * 32}-{'5' * 16}-00"

    async def answer(call: Call) -> str:
        seen.append(call.traceparent)
        return "well"

    config = CONFIG + "gateway: {http: {port: 0, websocket: true}}\n"
    async with Daemon(tmp_path, config) as daemon, daemon.client() as client, client.serve_agent("far", answer):
        for opened_under in (OUTSIDE, "nonsense"):
            stream: Any = (
                RawStream(daemon.address, traceparent=opened_under)
                if door == "grpc"
                else RawSocket(http_port(daemon), token=daemon.token, form=door, traceparent=opened_under)
            )
            async with stream as opened:
                await opened.hello("traced")
                for frame in (
                    pb.ConnectRequest(trigger=pb.Trigger(entry_point="ask", text="x")),
                    pb.ConnectRequest(send=pb.Send(agent="far", text="x")),
                    pb.ConnectRequest(send=pb.Send(agent="far", text="x", traceparent=other)),
                ):
                    await opened.accepted(await opened.ask(frame))
                    assert (await opened.take("reply", timeout=60)).reply.content == "well"
    assert seen == [OUTSIDE, OUTSIDE, other, "", "", other]


@pytest.mark.parametrize("answers", [True, False])
async def test_a_collector_that_is_dead_costs_nothing(tmp_path: Path, *, answers: bool) -> None:
    """One that takes connections and never answers, or none at all: work goes on, and the stop is in time."""

    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    if not answers:
        silent.close()
    daemon = Daemon(tmp_path, CONFIG)
    daemon.environ |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_BSP_SCHEDULE_DELAY": "20",
        "OTEL_BSP_MAX_QUEUE_SIZE": "16",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8",
    }
    async with daemon, daemon.client() as client:
        for number in range(100):
            assert (await client.send("echo", str(number))).content == str(number)
        daemon.signal(signal.SIGTERM)
        assert await daemon.ended() == 0
    silent.close()
