"""Programs talk to agents over gRPC: sends, their answers, their keys, their limits and their ends."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from gateway.v1 import agent_service_pb2, channel_pb2, execution_pb2
from gateway.v1 import event_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration

from gatewayctl.client import Conflict, DeadlineExceeded, ExecutionFailed, GatewayError, InvalidArgument, event_filter
from tests.rigs.entry_points import execution_is
from tests.rigs.house import House, house, state_of
from tests.rigs.stream import RawStream, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
agents:
  echo: {model: offline/echo}
  count: {model: offline/count}
  slow: {model: offline/slow}
  hurried: {model: offline/slow, timeout: 300ms}
  broken: {model: offline/fail}
  nowhere: {model: offline/echo, api_key: "${GATEWAY_TEST_IS_NOT_SET}"}
provider: {retries: 0}
channels:
  desk: {platform: local, routing: {dm: echo, group: count}}
  lounge: {platform: local, routing: {group: slow}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("sends"), CONFIG) as rig:
        yield rig


async def test_an_agent_answers_and_the_ledger_tells_it(rig: House) -> None:
    """received → journaled → routed → queued → executed → answered, once each (P7.8)."""
    reply = await rig.client.send("echo", "hello over gRPC")

    assert (reply.content, reply.state) == ("hello over gRPC", "succeeded")
    story = await rig.story(reply.message_id)
    assert state_of(story) == "answered"
    assert (await rig.trace(reply.execution_id)).message.id == reply.message_id
    code, out, _ = await rig.daemon.ctl("trace", reply.message_id)
    assert code == 0
    for stage in ("received", "journaled", "routed", "queued", "executed", "answered"):
        assert stage in out


async def test_the_unary_call_answers_the_same(rig: House) -> None:
    """AgentService.SendMessage is the same door as the stream (P5.8)."""
    request = agent_service_pb2.SendMessageRequest(agent="echo", text="one question")

    answer = await rig.client.call("AgentService/SendMessage", request, agent_service_pb2.SendMessageResponse)

    assert (answer.content, answer.agent) == ("one question", "echo")
    assert state_of(await rig.story(answer.message_id)) == "answered"


async def test_a_channels_routing_chooses_the_agent(rig: House) -> None:
    """A send that names a channel is routed like a message there, by its context (P7.5)."""
    direct = await rig.client.send("", "to the desk", channel="desk")
    group = await rig.client.send("", "count to 3", channel="desk", context=channel_pb2.CHAT_CONTEXT_GROUP)

    assert (direct.content, group.content) == ("to the desk", "1 2 3")
    message = (await rig.trace(group.message_id)).message
    assert (message.agent, message.rule) == ("count", "channels.desk.routing.group")


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ({"agent": "nobody"}, "AGENT_NOT_FOUND"),
        ({"agent": "", "channel": "nowhere"}, "CHANNEL_NOT_FOUND"),
        ({"agent": "", "channel": "lounge"}, "NO_ROUTE"),
        ({"agent": "echo", "channel": "desk"}, "INVALID_ARGUMENT"),
        ({"agent": ""}, "INVALID_ARGUMENT"),
        ({"agent": "echo", "session_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, "NOT_FOUND"),
    ],
)
async def test_a_send_that_leads_nowhere_is_refused(rig: House, to: dict[str, str], reason: str) -> None:
    """Unknown agents, channels, sessions and rules are told by their reason, and end no stream (P3.3, P3.7)."""
    with pytest.raises(GatewayError) as refused:
        await rig.client.send(**to, text="hello?")

    assert refused.value.reason == reason
    assert (await rig.client.send("echo", "still here")).content == "still here"


async def test_an_empty_message_is_refused(rig: House) -> None:
    """There is nothing to ask."""
    with pytest.raises(InvalidArgument):
        await rig.client.send("echo", " \n ")


async def test_the_same_key_gives_the_same_answer(rig: House) -> None:
    """An idempotency key runs a message once; its repeats get the first answer, while it runs and after."""
    first = await rig.client.send("echo", "only once", idempotency_key="key-1")
    again = await rig.client.send("echo", "only once", idempotency_key="key-1")
    together = await asyncio.gather(
        *(rig.client.send("slow", "100ms side by side", idempotency_key="key-2") for _ in range(3))
    )

    assert (again.execution_id, again.content) == (first.execution_id, first.content)
    assert len({each.execution_id for each in together}) == 1
    assert {each.content for each in together} == {"side by side"}


async def test_the_same_key_with_other_words_is_a_conflict(rig: House) -> None:
    """ID_CONFLICT: a key names one message."""
    await rig.client.send("echo", "the first words", idempotency_key="key-3")

    with pytest.raises(Conflict) as refused:
        await rig.client.send("echo", "other words", idempotency_key="key-3")

    assert refused.value.reason == "ID_CONFLICT"


async def test_partial_replies_add_up_to_the_final_one(rig: House) -> None:
    """Each part has its offset; joined they are the answer (P3.3)."""
    answer = rig.client.stream("count", "to 200")
    parts = [part async for part in answer]

    assert answer.reply is not None
    assert "".join(parts) == answer.reply.content == " ".join(str(number) for number in range(1, 201))


async def test_a_part_comes_while_the_agent_still_speaks(rig: House) -> None:
    """What is said in one moment may come as one part; what is said a minute before the rest does not wait for it."""
    answer = rig.client.stream("slow", "20ms " + "on and " * 1500)

    part = await anext(answer)

    assert part.startswith("on ")
    assert answer.reply is None
    await rig.client.cancel(await answer.accepted())
    with pytest.raises(GatewayError, match="cancelled by local"):
        await answer.wait()


async def test_a_failed_agent_is_an_error_that_can_be_shown(rig: House) -> None:
    """EXECUTION_FAILED carries a sentence for people; the story ends as failed and told."""
    with pytest.raises(ExecutionFailed) as failed:
        await rig.client.send("broken", "please")

    assert "not available" in str(failed.value)
    story = await rig.story(failed.value.metadata["execution_id"])
    assert state_of(story) == "failed_and_told"


async def test_an_agent_whose_variable_is_not_set_says_so(rig: House) -> None:
    """An unavailable agent is configured and cannot answer: the caller learns it (P2.2)."""
    with pytest.raises(GatewayError) as failed:
        await rig.client.send("nowhere", "hello?")

    assert "GATEWAY_TEST_IS_NOT_SET" in str(failed.value)


async def test_the_agents_timeout_ends_its_answer(rig: House) -> None:
    """agents.<id>.timeout is a deadline; what came before it is in the history (P2.5)."""
    with pytest.raises(ExecutionFailed, match="did not finish in time"):
        await rig.client.send("hurried", "200ms one two three four")


async def test_a_caller_that_does_not_wait_any_longer_learns_what_goes_on(rig: House) -> None:
    """A timeout names the execution; it runs on and keeps its answer (P6.2)."""
    with pytest.raises(DeadlineExceeded) as late:
        await rig.client.send("slow", "300ms two words", timeout=0.1)

    execution_id = late.value.metadata["execution_id"]
    done = await execution_is(rig, execution_id, "succeeded")
    assert done.output == "two words"
    assert state_of(await rig.story(execution_id)) == "answered"


async def test_the_correlation_id_is_on_every_event_of_the_execution(rig: House) -> None:
    """The caller's, or the execution's own id (P6.2)."""
    reply = await rig.client.send("echo", "follow me", correlation_id="case-42")
    plain = await rig.client.send("echo", "follow me, too")

    chosen = await rig.events(correlation_id="case-42")
    own = await rig.events(correlation_id=plain.execution_id)
    expected = ["execution_queued", "execution_started", "execution_completed"]
    assert [event.WhichOneof("data") for event in chosen] == expected
    assert [event.WhichOneof("data") for event in own] == expected
    assert {event.execution_id for event in chosen} == {reply.execution_id}


async def test_the_text_streams_as_events_between_start_and_end(rig: House) -> None:
    """Deltas are ephemeral, and stay between the durable events of their stream (P4.6)."""
    async with rig.client.subscribe(event_filter(correlation_id="order-1")) as events:
        await rig.client.send("count", "to 20", correlation_id="order-1")
        seen = []
        async for event in events:
            seen.append(event)
            if event.HasField("execution_completed"):
                break

    kinds = [event.WhichOneof("data") for event in seen]
    assert kinds[:2] == ["execution_queued", "execution_started"]
    assert set(kinds[2:-1]) == {"llm_text_delta"}
    assert "".join(event.llm_text_delta.content for event in seen) == " ".join(map(str, range(1, 21)))
    assert all(event.HasField("seq") != event.HasField("llm_text_delta") for event in seen)


async def test_a_send_without_reply_is_only_accepted(rig: House) -> None:
    """no_reply: the answer is kept with the execution, and not sent."""
    async with RawStream(rig.daemon.address) as stream:
        await stream.hello("quiet")
        request_id = await stream.ask(pb.ConnectRequest(send=pb.Send(agent="echo", text="note this", no_reply=True)))
        accepted = await stream.accepted(request_id)

        done = await execution_is(rig, accepted.execution_id, "succeeded")
        await stream.ask(pb.ConnectRequest(request_id="after", ping=pb.Ping()))

        assert done.output == "note this"
        assert (await stream.take("pong", "reply")).WhichOneof("frame") == "pong"


async def test_a_timeout_on_the_stream_is_a_final_reply(rig: House) -> None:
    """DEADLINE_EXCEEDED in the reply, with the state in which the execution is."""
    async with RawStream(rig.daemon.address) as stream:
        await stream.hello("hasty")
        send = pb.Send(agent="slow", text="400ms late", timeout=Duration(nanos=50_000_000))
        await stream.ask(pb.ConnectRequest(send=send))

        reply = (await stream.take("reply")).reply

        assert reply.final
        assert reason_of(reply.error) == "DEADLINE_EXCEEDED"
        assert reply.state in (execution_pb2.EXECUTION_STATE_QUEUED, execution_pb2.EXECUTION_STATE_RUNNING)
        await execution_is(rig, reply.execution_id, "succeeded")


async def test_one_client_has_one_conversation_per_agent(rig: House) -> None:
    """The key of a session over gRPC is principal, client id and agent (P7.6)."""
    one = await rig.trace((await rig.client.send("echo", "first")).message_id)
    two = await rig.trace((await rig.client.send("echo", "second")).message_id)
    other = await rig.trace((await rig.client.send("count", "to 1")).message_id)
    async with rig.daemon.client("somebody-else") as client:
        stranger = await rig.trace((await client.send("echo", "third")).message_id)

    sessions = [each.message.session_id for each in (one, two, other, stranger)]
    assert sessions[0] == sessions[1]
    assert len(set(sessions)) == 3


async def test_who_asks_for_it_gets_the_whole_text_so_far(rig: House) -> None:
    """Deltas carry an offset; the snapshot comes only to the subscription that wants it (P4.2)."""
    wanted = event_filter(["llm_text_delta"], stream_id="slow")
    async with rig.client.subscribe(wanted, snapshot=True) as whole, rig.client.subscribe(wanted) as pieces:
        answer = await rig.client.send("slow", "300ms one two three ünd vier")
        text, snapshots = "", []
        async with asyncio.timeout(60):
            while text != answer.content:
                event = await anext(whole)
                assert event.llm_text_delta.offset == len(text)
                text += event.llm_text_delta.content
                if event.llm_text_delta.snapshot:
                    assert event.llm_text_delta.snapshot == text
                    snapshots.append(text)
            plain = ""
            while plain != answer.content:
                event = await anext(pieces)
                assert not event.llm_text_delta.snapshot
                plain += event.llm_text_delta.content

    assert snapshots[-1] == answer.content
