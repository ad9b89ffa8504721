"""Frames in batches, and what workers say on their stream: over gRPC and WebSocket, by friends and by others."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import event_filter, new_event
from gatewayctl.sdk.objects import MAX_DEPTH
from tests.rigs.house import House, house
from tests.rigs.stream import RawStream, reason_of
from tests.rigs.websocket import JSON, PROTO, RawSocket, http_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "gw_mute_" + "0" * 43
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
CONFIG = f"""
gateway: {{http: {{port: 0, websocket: true}}, limits: {{message_bytes: 2MiB}}}}
agents:
  echo: {{model: offline/echo}}
  slow: {{model: offline/slow}}
  asker: {{remote: true, timeout: 5m}}
  other: {{remote: true, timeout: 5m, topics: [news]}}
clients:
  mute: {{token_sha256: {DIGEST}, scopes: ["agents.register:asker", "agents.send:asker"]}}
"""
DOORS = ("grpc", JSON, PROTO)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("batches"), CONFIG) as rig:
        yield rig


def stream(rig: House, door: str = "grpc", token: str = "") -> RawStream:
    token = token or rig.daemon.token
    if door == "grpc":
        return RawStream(f"127.0.0.1:{rig.daemon.port}", token=token)
    return RawSocket(http_port(rig.daemon), token=token, form=door)


def batch(*requests: pb.ConnectRequest) -> pb.ConnectRequest:
    return pb.ConnectRequest(batch=pb.RequestBatch(requests=requests))


def ping(request_id: str) -> pb.ConnectRequest:
    return pb.ConnectRequest(request_id=request_id, ping=pb.Ping())


def send(request_id: str, agent: str, text: str, **more: str) -> pb.ConnectRequest:
    return pb.ConnectRequest(request_id=request_id, send=pb.Send(agent=agent, text=text, **more))  # type: ignore[arg-type]


async def told(client: RawStream, enough: Callable[[list[pb.ConnectResponse]], bool]) -> list[pb.ConnectResponse]:
    """All that comes until it is enough, taken out of its batches."""
    found: list[pb.ConnectResponse] = []
    async with asyncio.timeout(60):
        while not enough(found):
            frame = await client.take(
                "batch", "pong", "accepted", "rejected", "reply", "call", "cancel_call", timeout=60
            )
            found += list(frame.batch.responses) or [frame]
    return found


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("door", DOORS)
async def test_each_request_of_a_batch_is_answered_as_if_it_had_come_alone(
    rig: House, door: str, *, together: bool
) -> None:
    async with stream(rig, door) as client:
        assert "batches" in (await client.hello(f"many-{door}-{together}", batches=together)).features
        pings = [ping(f"p{number}") for number in range(50)]
        await client.write(batch(send("good", "echo", "hello"), send("bad", "echo", ""), *pings))

        def enough(found: list[pb.ConnectResponse]) -> bool:
            return any(one.reply.final for one in found) and sum(one.HasField("pong") for one in found) == len(pings)

        frames = await told(client, enough)

    assert [one.request_id for one in frames if one.HasField("pong")] == [one.request_id for one in pings]
    refused = [one for one in frames if one.HasField("rejected")]
    assert [(one.request_id, reason_of(one.rejected.error)) for one in refused] == [("bad", "INVALID_ARGUMENT")]
    good = [one for one in frames if one.request_id == "good"]
    assert [one.WhichOneof("frame") for one in good] == ["accepted", "reply"]
    assert good[1].reply.content == "hello"


async def test_answers_come_in_batches_to_who_takes_them_and_to_nobody_else(rig: House) -> None:
    for together, kind in ((True, "batch"), (False, "pong")):
        async with stream(rig) as client:
            await client.hello(f"counting-{together}", batches=together)
            await client.write(batch(*(ping(str(number)) for number in range(100))))
            frame = await client.take("batch", "pong", timeout=60)
            assert frame.WhichOneof("frame") == kind


async def test_events_of_the_deepest_json_reach_who_takes_batches(rig: House) -> None:
    """Beside the answers to those who publish them, on the same connection."""
    deepest: dict[str, object] = {"x": 1}
    for _ in range(MAX_DEPTH - 1):
        deepest = {"x": deepest}
    async with rig.daemon.client("deep") as client:
        events = await client.subscribe(event_filter(["custom"])).started()
        async with asyncio.timeout(60):
            for _ in range(20):
                await client.publish(new_event("custom", deepest, custom_type="deep"))
            found = [await anext(events) for _ in range(20)]
    assert {event.custom_type for event in found} == {"deep"}


@pytest.mark.parametrize("door", DOORS)
async def test_an_id_names_one_request_of_a_batch(rig: House, door: str) -> None:
    async with stream(rig, door) as client:
        await client.hello(f"twice-{door}", batches=True)
        await client.write(batch(send("same", "slow", "100ms one"), send("same", "echo", "two"), ping("end")))
        frames = await told(client, lambda found: any(one.reply.final for one in found))

    mine = [one for one in frames if one.request_id == "same"]
    assert sorted(one.WhichOneof("frame") or "" for one in mine) == ["accepted", "rejected", "reply"]
    (refused,) = (one for one in mine if one.HasField("rejected"))
    assert reason_of(refused.rejected.error) == "INVALID_ARGUMENT"
    assert mine[-1].reply.content == "one"


@pytest.mark.parametrize("door", ["grpc", PROTO])
@pytest.mark.parametrize(
    "hostile",
    [
        batch(),
        batch(*(ping(str(number)) for number in range(100_000))),
        batch(ping("1"), batch(ping("2"))),
        batch(ping("1"), pb.ConnectRequest(hello=pb.Hello(client_id="again"))),
        batch(ping("1"), pb.ConnectRequest(request_id="2")),
        b"\xf2\x01\x08\x0a\x06\x0a\x012\xfa\x3e\x00",
        b"\xf2\x01\x02\x0a\x09",
    ],
    ids=["empty", "hundred-thousand", "nested", "hello", "nothing", "unknown", "torn"],
)
async def test_what_is_no_batch_ends_the_stream_before_any_of_it_is_begun(
    rig: House, door: str, hostile: pb.ConnectRequest | bytes
) -> None:
    async with stream(rig, door) as client:
        await client.hello("hostile", batches=True)
        await client.write(hostile)
        ended = await client.ended(timeout=60)
    assert ended is not None
    assert ended.reason == "PROTOCOL_VIOLATION"
    async with stream(rig, door) as client:
        await client.hello("friendly")
        await client.ask(ping("here"))
        assert (await client.take("pong", timeout=60)).request_id == "here"


async def test_a_batch_larger_than_a_message_may_be_ends_the_stream(rig: House) -> None:
    async with stream(rig) as client:
        await client.hello("large", batches=True)
        await client.write(batch(*(send(str(number), "echo", "x" * 100_000) for number in range(30))))
        ended = await client.ended(timeout=60)
    assert ended is not None
    assert ended.code == 8


class Worker:
    """Answers for both agents, by hand."""

    def __init__(self, rig: House, door: str) -> None:
        self.stream = stream(rig, door)
        self._numbers = 0

    async def register(self, name: str) -> None:
        assert "worker_messages" in (await self.stream.hello(name)).features
        for agent in ("asker", "other"):
            request = pb.ConnectRequest(register_agent=pb.RegisterAgent(agent=agent))
            await self.stream.accepted(await self.stream.ask(request))

    async def call(self) -> pb.Call:
        return (await self.stream.take("call", timeout=60)).call

    async def reply(self, call: pb.Call, content: str) -> None:
        said = pb.CallReply(call_id=call.call_id, content=content, final=True)
        await self.stream.accepted(await self.stream.ask(pb.ConnectRequest(call_reply=said)))

    async def say(self, call: pb.Call, agent: str, text: str, **more: str) -> str:
        frame = pb.ConnectRequest(send=pb.Send(call_id=call.call_id, agent=agent, text=text, **more))  # type: ignore[arg-type]
        return await self.stream.ask(frame)

    async def heard(self) -> pb.Reply:
        return (await self.stream.take("reply", timeout=60)).reply


@pytest.mark.parametrize("door", DOORS)
async def test_a_worker_asks_and_publishes_on_its_stream(rig: House, door: str) -> None:
    worker = Worker(rig, door)
    async with worker.stream, rig.daemon.client(f"c-{door}") as client:
        await worker.register(f"w-{door}")
        sending = asyncio.create_task(client.send("asker", "go"))
        asked = await worker.call()
        request = await worker.say(asked, "other", "how?", key="k")
        question = await worker.call()
        assert (question.agent, question.sender, question.text) == ("other", "asker/default", "how?")
        assert question.execution_id == asked.execution_id
        await worker.say(question, "other", "myself?", key="k")
        assert reason_of((await worker.heard()).error) == "CALL_CYCLE"
        await worker.reply(question, "so")
        accepted, reply = await worker.stream.accepted(request), await worker.heard()
        assert (accepted.execution_id, reply.content, reply.final) == (asked.execution_id, "so", True)

        said = pb.PublishMessage(call_id=asked.call_id, topic="news/x", text="it rains")
        published = await worker.stream.ask(pb.ConnectRequest(publish_message=said))
        assert (await worker.stream.accepted(published)).count == 1
        told_of = await worker.call()
        assert (told_of.topic, told_of.sender, told_of.text) == ("news/x", "asker/default", "it rains")
        await worker.reply(told_of, "")

        for wrong, reason in (
            (pb.Send(call_id="none", agent="other", text="x"), "NOT_FOUND"),
            (pb.Send(call_id=asked.call_id, agent="nobody", text="x"), "AGENT_NOT_FOUND"),
            (pb.Send(call_id=asked.call_id, agent="other", text="x", no_reply=True), "INVALID_ARGUMENT"),
        ):
            assert (
                reason_of(await worker.stream.rejected(await worker.stream.ask(pb.ConnectRequest(send=wrong))))
                == reason
            )
        await worker.reply(asked, "done")
        assert (await sending).content == "done"


async def test_what_is_asked_from_within_a_call_ends_with_it(rig: House) -> None:
    worker = Worker(rig, "grpc")
    async with worker.stream, rig.daemon.client("c-end") as client:
        await worker.register("w-end")
        sending = asyncio.create_task(client.send("asker", "go"))
        asked = await worker.call()
        request = await worker.say(asked, "other", "how?")
        question = await worker.call()
        await worker.reply(asked, "I do not wait")
        assert (await sending).content == "I do not wait"
        assert (await worker.stream.take("cancel_call", timeout=60)).cancel_call.call_id == question.call_id
        await worker.stream.accepted(request)
        assert reason_of((await worker.heard()).error) == "CANCELLED"


async def test_what_is_said_before_the_end_of_a_call_in_one_batch_is_said_within_it(rig: House) -> None:
    """As if each had come alone: the message is published, and the question is taken back."""
    worker = Worker(rig, "grpc")
    async with worker.stream, rig.daemon.client("c-last") as client:
        await worker.register("w-last")
        sending = asyncio.create_task(client.send("asker", "go"))
        asked = await worker.call()
        said = pb.PublishMessage(call_id=asked.call_id, topic="news", text="it rains")
        last = pb.CallReply(call_id=asked.call_id, content="that is all", final=True)
        await worker.stream.write(
            batch(
                pb.ConnectRequest(request_id="tell", publish_message=said),
                send("ask", "slow", "60s never", call_id=asked.call_id),
                pb.ConnectRequest(request_id="end", call_reply=last),
            )
        )
        assert (await worker.stream.accepted("tell")).count == 1
        assert (await sending).content == "that is all"
        told_of = await worker.call()
        assert (told_of.topic, told_of.text) == ("news/default", "it rains")
        await worker.reply(told_of, "")
        await worker.stream.accepted("ask")
        assert reason_of((await worker.heard()).error) == "CANCELLED"


async def test_only_the_client_that_has_a_call_speaks_from_it_on_its_stream(rig: House) -> None:
    worker = Worker(rig, "grpc")
    async with worker.stream, stream(rig) as other, rig.daemon.client("c-own") as client:
        await worker.register("w-own")
        await other.hello("w-other")
        sending = asyncio.create_task(client.send("asker", "go"))
        asked = await worker.call()
        for frame in (
            pb.ConnectRequest(send=pb.Send(call_id=asked.call_id, agent="echo", text="x")),
            pb.ConnectRequest(publish_message=pb.PublishMessage(call_id=asked.call_id, topic="news", text="x")),
        ):
            assert reason_of(await other.rejected(await other.ask(frame))) == "NOT_FOUND"
        await worker.reply(asked, "mine")
        assert (await sending).content == "mine"


async def test_more_is_asked_at_once_than_may_be_under_way_and_a_bound_is_told(rig: House) -> None:
    """What answers it comes on the same connection, behind it."""
    worker = Worker(rig, "grpc")
    async with worker.stream, rig.daemon.client("c-many") as client:
        await worker.register("w-many")
        sending = asyncio.create_task(client.send("asker", "go"))
        asked = await worker.call()
        many = [send(f"q{number}", "other", str(number), call_id=asked.call_id) for number in range(1002)]
        await worker.stream.write(batch(*many[:600]))
        await worker.stream.write(batch(*many[600:]))
        for number in (1000, 1001):
            assert reason_of(await worker.stream.rejected(f"q{number}")) == "LIMIT_EXCEEDED"
        for number in range(3):
            question = await worker.call()
            assert question.text == str(number)
            await worker.reply(question, "yes")
            assert (await worker.heard()).content == "yes"
        await worker.reply(asked, "enough")
        assert (await sending).content == "enough"


async def test_a_worker_says_only_what_its_scopes_allow(rig: House) -> None:
    async with stream(rig, token=TOKEN) as mute, rig.daemon.client("c-mute") as client:
        await mute.hello("w-mute")
        await mute.accepted(await mute.ask(pb.ConnectRequest(register_agent=pb.RegisterAgent(agent="asker"))))
        sending = asyncio.create_task(client.send("asker", "go"))
        asked = (await mute.take("call", timeout=60)).call
        for frame in (
            pb.ConnectRequest(send=pb.Send(call_id=asked.call_id, agent="other", text="x")),
            pb.ConnectRequest(publish_message=pb.PublishMessage(call_id=asked.call_id, topic="news", text="x")),
        ):
            assert reason_of(await mute.rejected(await mute.ask(frame))) == "PERMISSION_DENIED"
        said = pb.CallReply(call_id=asked.call_id, content="nothing", final=True)
        await mute.accepted(await mute.ask(pb.ConnectRequest(call_reply=said)))
        assert (await sending).content == "nothing"
