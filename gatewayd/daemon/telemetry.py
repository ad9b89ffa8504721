"""Spans by OpenTelemetry, for a daemon whose environment asks for them: the only file that knows the library.

Everything else is its own affair, as its environment variables say (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`,
`OTEL_TRACES_SAMPLER`, `OTEL_BSP_MAX_QUEUE_SIZE`, …). Spans wait in a queue with a bound, beyond which they are dropped,
and leave by a thread of the library: a collector that is slow or gone costs spans and nothing else.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from gatewayd.core.clock import Clock
from gatewayd.core.tracing import Operation, Span, Tracer

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

log = logging.getLogger("gatewayd.tracing")

FLUSH: Final = 2.0
"""Seconds that a stop waits for the last spans to leave."""
MAX_TEXT: Final = 256
"""Longest text in a span, in characters."""
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP: Final = "http/protobuf"


class Telemetry:
    """A tracer, and how it ends. Without a provider it is nothing."""

    def __init__(self, provider: "TracerProvider | None", clock: Clock) -> None:
        self._provider = provider
        self._clock = clock
        self.tracer: Tracer | None = OtelTracer(provider) if provider is not None else None

    async def stop(self) -> None:
        """Have the last spans leave, within `FLUSH` seconds; what takes longer is left behind."""
        if self._provider is None:
            return
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        ending = threading.Thread(target=_end, args=(self._provider, loop, done), name="tracing", daemon=True)
        ending.start()
        try:
            async with self._clock.timeout(FLUSH):
                await done.wait()
        except TimeoutError:
            log.warning("spans_lost", extra={"seconds": FLUSH})


class OtelTracer:
    """See `core.tracing.Tracer`."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace  # noqa: PLC0415 - only where it is asked for
        from opentelemetry.context import Context  # noqa: PLC0415

        self._api, self._nothing = trace, Context()
        consumer, producer = trace.SpanKind.CONSUMER, trace.SpanKind.PRODUCER
        self._tracer = provider.get_tracer("gatewayd")
        self._kinds = dict.fromkeys(Operation, producer) | {Operation.PROCESS: consumer, Operation.ACK: consumer}

    def span(
        self, operation: Operation, target: str, *, parent: str, attributes: Mapping[str, str]
    ) -> AbstractContextManager[Span]:
        """See `Tracer.span`. Names hold the agent or the topic without its key: there are few of them."""
        return self._span(operation, target, parent, attributes)

    @contextmanager
    def _span(self, operation: Operation, target: str, parent: str, attributes: Mapping[str, str]) -> Iterator[Span]:
        told = {
            "messaging.system": "gatewayd",
            "messaging.operation.name": operation.value,
            "messaging.destination.name": target[:MAX_TEXT],
        }
        told |= {f"gatewayd.{name}": text[:MAX_TEXT] for name, text in attributes.items() if text}
        name = f"{operation.value} {target.partition('/')[0][:MAX_TEXT]}"
        span = self._tracer.start_span(name, self._context(parent), kind=self._kinds[operation], attributes=told)
        try:
            yield OtelSpan(span)
        except BaseException as error:
            # The kind alone: what it says may be of what people wrote.
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(self._api.Status(self._api.StatusCode.ERROR))
            raise
        finally:
            span.end()

    def _context(self, parent: str) -> "Context":
        """Of a traceparent that was checked; without one a span begins a trace."""
        if not parent:
            return self._nothing
        _, trace_id, span_id, flags = parent.split("-")[:4]
        sampled = self._api.TraceFlags(int(flags, 16))
        made = self._api.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=sampled)
        return self._api.set_span_in_context(self._api.NonRecordingSpan(made), self._nothing)


class OtelSpan:
    """See `core.tracing.Span`."""

    def __init__(self, span: Any) -> None:
        made = span.get_span_context()
        self.traceparent = f"00-{made.trace_id:032x}-{made.span_id:016x}-{int(made.trace_flags):02x}"


def telemetry(environ: Mapping[str, str], version: str, clock: Clock) -> Telemetry:
    """What the environment asks for; nothing if it asks for nothing, or for what is not installed, which is logged."""
    wanted = _exporters(environ)
    if not wanted:
        return Telemetry(None, clock)
    try:
        provider = provider_of([_processor(name, environ) for name in wanted], environ, version)
    except ImportError as error:
        hint = "pip install 'gatewayd[otel]'"
        log.warning("tracing_not_installed", extra={"missing": error.name or str(error), "hint": hint})
        return Telemetry(None, clock)
    except Exception:  # the boundary of a library that the environment configures: the daemon serves without it
        log.exception("tracing_failed")
        return Telemetry(None, clock)
    log.info("tracing", extra={"exporters": ",".join(wanted)})
    return Telemetry(provider, clock)


def provider_of(
    processors: "list[Callable[[], SpanProcessor]]", environ: Mapping[str, str], version: str
) -> "TracerProvider":
    """Makes spans for these processors, which are made when all of it is there."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    about = {"service.version": version}
    if not environ.get("OTEL_SERVICE_NAME") and "service.name=" not in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        about["service.name"] = "gatewayd"
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    for make in processors:
        provider.add_span_processor(make())
    return provider


def _exporters(environ: Mapping[str, str]) -> list[str]:
    """`otlp`, `console`: as OTEL_TRACES_EXPORTER says, else the first if there is an endpoint for it."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    named = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if not named:
        return ["otlp"] if any(environ.get(key) for key in _ENDPOINTS) else []
    found = [name for part in named.split(",") if (name := part.strip().lower()) not in ("", "none")]
    for name in found:
        if name not in ("otlp", "console"):
            log.warning("exporter_unknown", extra={"exporter": name[:MAX_TEXT], "hint": "otlp, console or none"})
    return [name for name in dict.fromkeys(found) if name in ("otlp", "console")]


def _processor(name: str, environ: Mapping[str, str]) -> "Callable[[], SpanProcessor]":
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SpanExporter,
    )

    if name == "console":
        return lambda: BatchSpanProcessor(ConsoleSpanExporter())
    protocol = next((environ[key] for key in _PROTOCOLS if environ.get(key)), _HTTP)
    if protocol != _HTTP:
        log.warning("protocol_unknown", extra={"protocol": protocol[:MAX_TEXT], "used": _HTTP})
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    make: Callable[[], SpanExporter] = OTLPSpanExporter
    return lambda: BatchSpanProcessor(make())


def _end(provider: "TracerProvider", loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    """In a thread of its own: it waits for the exporter, however long that takes."""
    try:
        provider.shutdown()
    finally:
        with suppress(RuntimeError):  # nobody waits any more: the loop is closed
            loop.call_soon_threadsafe(done.set)
