"""Spans by OpenTelemetry: what the environment asks for, what a span holds, and that nothing waits for a collector."""

import asyncio
import logging
import sys
import threading

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.clock import SystemClock, SystemRandomness
from gatewayd.core.ids import IdSource
from gatewayd.core.tracing import Operation
from gatewayd.daemon import telemetry as made
from gatewayd.daemon.telemetry import OtelTracer, Telemetry, provider_of, telemetry
from gatewayd.engine.context import MessageContext
from gatewayd.engine.engine import MessageEngine
from gatewayd.engine.handlers import HandlerAgent, message_handler

OUTSIDE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = OUTSIDE[:-2] + "00"


class Relay(HandlerAgent):
    """Asks `end`, and publishes."""

    @message_handler
    async def on_text(self, message: str, ctx: MessageContext) -> str:
        await ctx.publish("news", TopicId("news"))
        return str(await ctx.send(message, AgentId("end", "secret-key")))


class End(HandlerAgent):
    @message_handler
    async def on_text(self, message: str, ctx: MessageContext) -> str:
        if message == "fail":
            raise ValueError("what somebody wrote")
        return message


def in_memory() -> tuple[TracerProvider, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    return provider_of([lambda: SimpleSpanProcessor(exporter)], {}, "1.2.3"), exporter


async def relayed(text: str, parent: str) -> tuple[ReadableSpan, ...]:
    """The spans of a message through the real engine, by their end."""
    provider, exporter = in_memory()
    clock = SystemClock()
    engine = MessageEngine(clock=clock, ids=IdSource(clock, SystemRandomness()), tracer=OtelTracer(provider))
    engine.register("relay", Relay)
    engine.register("end", End)
    await engine.start()
    try:
        await engine.send(text, AgentId("relay"), traceparent=parent)
    finally:
        await engine.stop_when_idle(60)
        await engine.close()
    return exporter.get_finished_spans()


async def test_a_message_and_what_it_causes_are_one_trace() -> None:
    """create, send, process, ack and publish, each under what caused it, below the span of whoever asked."""
    spans = await relayed("hello", OUTSIDE)

    named = {span.name: span for span in spans}
    assert set(named) == {
        *("create relay", "send relay", "process relay", "ack relay"),
        *("create end", "send end", "process end", "ack end"),
        "publish news",
    }
    assert {f"{span.context.trace_id:032x}" for span in spans} == {OUTSIDE.split("-")[1]}
    parents = {name: span.parent.span_id for name, span in named.items() if span.parent is not None}
    assert f"{parents['create relay']:016x}" == OUTSIDE.split("-")[2]
    assert parents["send relay"] == parents["ack relay"] == named["create relay"].context.span_id
    assert parents["process relay"] == named["send relay"].context.span_id
    assert parents["create end"] == parents["publish news"] == named["process relay"].context.span_id
    assert {named[name].kind for name in ("create end", "send end", "publish news")} == {SpanKind.PRODUCER}
    assert {named[name].kind for name in ("process end", "ack end")} == {SpanKind.CONSUMER}
    told = dict(named["process end"].attributes or {})
    assert told["messaging.destination.name"] == "end/secret-key"
    assert (told["messaging.system"], told["messaging.operation.name"]) == ("gatewayd", "process")
    assert told["gatewayd.sender"] == "relay/default"
    assert named["process end"].resource.attributes["service.name"] == "gatewayd"
    assert named["process end"].resource.attributes["service.version"] == "1.2.3"


async def test_an_error_is_told_by_its_kind_alone() -> None:
    provider, exporter = in_memory()
    with pytest.raises(ValueError), OtelTracer(provider).span(Operation.PROCESS, "a/b", parent="", attributes={}):
        raise ValueError("what somebody wrote")

    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code, (span.attributes or {})["error.type"]) == (StatusCode.ERROR, "ValueError")
    assert span.parent is None
    assert "somebody" not in span.to_json()


async def test_what_is_not_sampled_goes_on_unsampled() -> None:
    """The sampler of the environment holds, which follows the parent where nothing else is said."""
    provider, exporter = in_memory()
    with OtelTracer(provider).span(Operation.SEND, "a", parent=UNSAMPLED, attributes={"big": "x" * 9999}) as span:
        assert span.traceparent.split("-")[1] == UNSAMPLED.split("-")[1]
        assert span.traceparent.endswith("-00")
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/t", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, True),
    ],
)
async def test_the_environment_asks_for_it(environ: dict[str, str], *, on: bool) -> None:
    found = telemetry(environ, "1", SystemClock())
    assert (found.tracer is not None) == on
    await found.stop()


async def test_what_is_not_installed_is_told_and_serves_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    with caplog.at_level(logging.WARNING, "gatewayd.tracing"):
        found = telemetry({"OTEL_TRACES_EXPORTER": "otlp"}, "1", SystemClock())
    assert found.tracer is None
    assert [record.message for record in caplog.records] == ["tracing_not_installed"]


async def test_a_stop_leaves_behind_what_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that takes the connection and never answers."""
    release, began = threading.Event(), threading.Event()

    class Stuck(SpanProcessor):
        def shutdown(self) -> None:
            began.set()
            release.wait(60)

    monkeypatch.setattr(made, "FLUSH", 0.05)
    stopping = Telemetry(provider_of([Stuck], {}, "1"), SystemClock())
    async with asyncio.timeout(60):
        await stopping.stop()
    assert began.is_set()
    release.set()
