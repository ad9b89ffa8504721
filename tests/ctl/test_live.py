"""Commands that stay on the line, as processes: chat, streamed answers, following events."""

import asyncio
import json
import os
import pty
import signal

import pytest
from gateway.v1 import agent_service_pb2
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import new_event
from tests.ctl.answers import everything
from tests.ctl.command import Process
from tests.ctl.fake_gateway import FakeGateway

pytestmark = pytest.mark.usefixtures("quiet_environment")


async def test_a_streamed_answer_comes_in_pieces(gateway: FakeGateway) -> None:
    """The first piece is printed while the agent still works."""
    gateway.answer_gate.clear()
    command = await Process.start("send", "--stream", "--address", gateway.address, "echo", "hello", "world")

    assert command.process.stdout is not None
    async with asyncio.timeout(60):
        first = await command.process.stdout.readexactly(4)
    gateway.answer_gate.set()
    done = await command.end()

    assert first == b"you "
    assert (done.code, done.out) == (0, "said: hello world\n")


def one_send(gateway: FakeGateway) -> agent_service_pb2.SendMessageRequest:
    """The only one that came."""
    (request,) = (each for _, each in gateway.requests if isinstance(each, agent_service_pb2.SendMessageRequest))
    return request


async def test_text_comes_from_standard_input(gateway: FakeGateway) -> None:
    gateway.answers = everything()
    command = await Process.start("send", "--address", gateway.address, "echo", "-")

    done = await command.end("from a pipe")

    assert done.code == 0
    assert one_send(gateway).text == "from a pipe"


async def test_options_of_send_reach_the_daemon(gateway: FakeGateway) -> None:
    gateway.answers = everything()
    words = ("--channel", "vip", "--context", "group", "--session", "S1", "--idempotency-key", "k", "--timeout", "7")

    done = await (await Process.start("send", "--address", gateway.address, *words, "hi", "you")).end()

    request = one_send(gateway)
    assert done.code == 0
    assert str(request) == (
        'channel: "vip"\ncontext: CHAT_CONTEXT_GROUP\ntext: "hi you"\nsession_id: "S1"\n'
        'idempotency_key: "k"\ntimeout {\n  seconds: 7\n}\nuntil_asked: true\n'
    )


async def test_a_chat_over_a_pipe_answers_line_by_line(gateway: FakeGateway) -> None:
    command = await Process.start("chat", "echo", "--address", gateway.address)

    done = await command.end("hello\n\nagain\n")

    assert (done.code, done.out) == (0, "you said: hello\nyou said: again\n")


async def test_a_chat_begins_with_the_agents_greeting(gateway: FakeGateway) -> None:
    gateway.answers = everything()
    command = await Process.start("chat", "assistant", "--address", gateway.address)

    done = await command.end("hello\n")

    assert (done.code, done.out) == (0, "What can I do for you?\nyou said: hello\n")


async def test_a_chat_goes_on_after_a_cut(gateway: FakeGateway) -> None:
    gateway.cuts["partial"] = 2
    command = await Process.start("chat", "echo", "--address", gateway.address)

    done = await command.end("hello world\n")

    assert (done.code, done.out) == (0, "you said: hello world\n")
    assert len(gateway.hellos) == 2


async def test_a_chat_over_a_pipe_fails_with_the_agent(gateway: FakeGateway) -> None:
    command = await Process.start("chat", "broken", "--address", gateway.address)

    done = await command.end("hello\n")

    assert done.code == 1
    assert "the model did not answer" in done.err


async def test_a_chat_needs_an_agent_that_is_there(gateway: FakeGateway) -> None:
    gateway.answers = everything()
    command = await Process.start("chat", "nobody", "--address", gateway.address)

    done = await command.end()

    assert done.code == 4
    assert "assistant, sales" in done.err


async def test_nobody_to_chat_with_is_three(gateway: FakeGateway) -> None:
    await gateway.stop()

    done = await (await Process.start("chat", "echo", "--address", gateway.address)).end()

    assert done.code == 3


async def test_an_interrupt_cancels_the_answer_and_the_chat_goes_on(gateway: FakeGateway) -> None:
    """On a terminal: Ctrl-C while the agent works cancels the execution; Ctrl-D leaves."""
    gateway.answer_gate.clear()
    master, terminal = pty.openpty()
    process = (await Process.start("chat", "echo", "--address", gateway.address, stdin=terminal)).process
    os.close(terminal)
    assert process.stdout is not None
    try:
        os.write(master, b"hello\n")
        async with asyncio.timeout(60):
            await process.stdout.readuntil(b"you said")
            process.send_signal(signal.SIGINT)
            while not any(name == "cancel" for name, _ in gateway.requests):
                await asyncio.sleep(0.05)
            gateway.answer_gate.set()
            os.write(master, b"again\n")
            await process.stdout.readuntil(b"you said: again")
            os.write(master, b"\x04")
            _, err = await process.communicate()
    finally:
        os.close(master)

    assert process.returncode == 0, err.decode()
    assert b"cancelled" in err


async def test_following_goes_on_after_a_cut_and_tells_where_it_stopped(gateway: FakeGateway) -> None:
    command = await Process.start("events", "--follow", "-o", "json", "--type", "message", "--address", gateway.address)
    async with asyncio.timeout(60):
        while not any(stream.subscriptions for stream in gateway.streams):
            await asyncio.sleep(0.05)

    gateway.add(new_event("message", {"content": "one"}))
    first = json.loads(await command.line())
    gateway.streams[0].cut()
    gateway.add(new_event("message", {"content": "two"}))
    second = json.loads(await command.line())
    command.process.send_signal(signal.SIGINT)
    done = await command.end()

    assert [first["data"]["content"], second["data"]["content"]] == ["one", "two"]
    assert done.code == 0
    assert "to go on from here: --since e1:2" in done.err


async def test_following_says_when_history_was_lost(gateway: FakeGateway) -> None:
    gateway.add(*(new_event("message", {"content": str(number)}) for number in range(5)))
    gateway.oldest = 4
    command = await Process.start("events", "--follow", "--since", "e1:1", "-o", "json", "--address", gateway.address)

    line = json.loads(await command.line())
    command.process.send_signal(signal.SIGINT)
    done = await command.end()

    assert line["data"]["content"] == "4"
    assert "some events are missing here (history lost)" in done.err


async def test_filters_of_events_reach_the_daemon(gateway: FakeGateway) -> None:
    words = (
        "--type message,error --topic a.> --session S1 --execution X1 --stream st --node no --correlation c --limit 3"
    )

    await (await Process.start("events", *words.split(), "--address", gateway.address)).end()

    request = gateway.requests[0][1]
    assert isinstance(request, pb.ListEventsRequest)
    assert request.page_size == 3
    wanted = request.filter
    assert (list(wanted.types), wanted.topic, wanted.session_id, wanted.execution_id) == ([1, 4], "a.>", "S1", "X1")
    assert (wanted.stream_id, wanted.node_id, wanted.correlation_id) == ("st", "no", "c")
