"""What an engine tells: a trace from the sender to the handlers and back, and a fact for every stage."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from engine_rig import Answer, Collector, Echo, Note, Other, running

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.tracing import Operation, checked_traceparent
from gatewayd.engine.context import MessageContext
from gatewayd.engine.events import HandlerFailed, MessageEvent, MessageKind, Stage
from gatewayd.engine.handlers import HandlerAgent, message_handler
from gatewayd.testing.fakes import until

OUTSIDE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Made:
    operation: Operation
    target: str
    parent: str
    traceparent: str
    error: str = ""
    ended: bool = False


class Recorder:
    """A tracer that keeps its spans."""

    def __init__(self) -> None:
        self.spans: list[Made] = []

    @contextmanager
    def span(self, operation: Operation, target: str, *, parent: str, attributes: Mapping[str, str]) -> Iterator[Made]:
        assert attributes["message_id"]
        made = Made(operation, target, parent, f"00-{'a' * 32}-{len(self.spans) + 1:016x}-01")
        self.spans.append(made)
        try:
            yield made
        except BaseException as error:
            made.error = type(error).__name__
            raise
        finally:
            made.ended = True

    def only(self, operation: Operation) -> Made:
        (found,) = [each for each in self.spans if each.operation is operation]
        return found


async def test_the_spans_of_a_call_are_one_trace() -> None:
    tracer = Recorder()
    async with running(tracer=tracer) as rig:
        rig.engine.register("echo", Echo)
        assert await rig.engine.send(Note("x"), AgentId("echo"), traceparent=OUTSIDE) == Answer("x")

        create, send, process, ack = (
            tracer.only(each) for each in (Operation.CREATE, Operation.SEND, Operation.PROCESS, Operation.ACK)
        )
        assert create.parent == OUTSIDE
        assert (send.parent, ack.parent) == (create.traceparent, create.traceparent)
        assert process.parent == send.traceparent
        assert {each.target for each in tracer.spans} == {"echo/default"}
        assert all(each.ended and not each.error for each in tracer.spans)


async def test_what_a_handler_causes_hangs_on_its_span_and_its_error_is_told() -> None:
    class Cause(HandlerAgent):
        @message_handler
        async def on_other(self, message: Other, ctx: MessageContext) -> None:
            await ctx.publish(Note("x"), TopicId("news"))
            raise ValueError(ctx.trace)

    tracer = Recorder()
    async with running(tracer=tracer) as rig:
        rig.engine.register("cause", Cause)
        rig.engine.register("one", Collector)
        with pytest.raises(ValueError, match="00-") as raised:
            await rig.engine.send(Other(), AgentId("cause"))
        await until(lambda: len([each for each in tracer.spans if each.operation is Operation.PROCESS]) == 2)

        cause, heard = [each for each in tracer.spans if each.operation is Operation.PROCESS]
        publish = tracer.only(Operation.PUBLISH)
        assert str(raised.value) == cause.traceparent
        assert (cause.error, tracer.only(Operation.SEND).error) == ("ValueError", "ValueError")
        assert publish.parent == cause.traceparent
        assert heard.parent == publish.traceparent


async def test_without_a_tracer_the_context_is_passed_on() -> None:
    seen: list[str] = []

    async def look(message: Note, ctx: MessageContext) -> None:
        seen.append(ctx.trace)
        if message.number:
            await ctx.send(Note("", message.number - 1), AgentId("look", str(message.number)))

    async with running() as rig:
        rig.engine.register_function("look", look)
        await rig.engine.send(Note("", 2), AgentId("look"), traceparent=OUTSIDE)
        await rig.engine.send(Note("", 0), AgentId("look"), traceparent="00-forged")

        assert seen == [OUTSIDE] * 3 + [""]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        OUTSIDE.upper(),
        OUTSIDE[:-1],
        OUTSIDE.replace("0af7", "zzzz"),
        f"00-{'0' * 32}-{'1' * 16}-01",
        "ff" + OUTSIDE[2:],
    ],
)
def test_what_is_no_traceparent_is_none(text: str) -> None:
    assert checked_traceparent(text) == ""
    assert checked_traceparent(OUTSIDE) == OUTSIDE


async def test_every_stage_of_a_message_is_told_in_order() -> None:
    async with running() as rig:
        rig.engine.register("one", Collector)
        sender, one, news = AgentId("someone"), AgentId("one"), TopicId("news")
        assert await rig.engine.send(Note("a"), one, sender=sender, message_id="m1") == 1
        await rig.engine.publish(Note("b"), news, message_id="m2")
        await until(lambda: rig.engine.stats().running + rig.engine.stats().queued == 0)

        told = [(each.kind, each.stage, each.message_id, each.sender, each.receiver) for each in rig.told(MessageEvent)]
        assert told == [
            (MessageKind.DIRECT, Stage.SEND, "m1", sender, one),
            (MessageKind.DIRECT, Stage.DELIVER, "m1", sender, one),
            (MessageKind.RESPOND, Stage.SEND, "m1", one, sender),
            (MessageKind.RESPOND, Stage.DELIVER, "m1", one, sender),
            (MessageKind.PUBLISH, Stage.SEND, "m2", None, news),
            (MessageKind.PUBLISH, Stage.DELIVER, "m2", None, one),
        ]
        assert [each.message for each in rig.told(MessageEvent)][2:4] == [1, 1]


async def test_a_sink_that_fails_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: object) -> None:
        raise RuntimeError("sink")

    async with running(sink=broken) as rig:
        rig.engine.register("echo", Echo)
        assert await rig.engine.send(Note("x"), AgentId("echo")) == Answer("x")
    assert {record.message for record in caplog.records} == {"engine_sink_failed"}


async def test_an_error_of_a_call_is_told_too() -> None:
    async def fail(message: Note, ctx: MessageContext) -> None:
        raise OSError("disk")

    async with running() as rig:
        rig.engine.register_function("bad", fail)
        with pytest.raises(OSError, match="disk"):
            await rig.engine.send(Note("x"), AgentId("bad"))
        (told,) = rig.told(HandlerFailed)
        assert (told.agent, told.topic, type(told.error)) == (AgentId("bad"), None, OSError)
