"""The SDK against streams that are cut at awkward points: nothing is lost, nothing comes twice, nothing is silent."""

import asyncio

import grpc
import pytest
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import (
    Client,
    ClientClosed,
    Event,
    ExecutionFailed,
    Gap,
    HistoryLost,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    Unauthenticated,
    Unavailable,
    event_filter,
    new_event,
)
from tests.ctl.fake_gateway import FakeGateway, Refusal
from tests.ctl.sdk_rig import client_of

pytestmark = pytest.mark.usefixtures("quiet_environment")


def message(text: str) -> Event:
    return new_event("message", {"content": text})


def contents(gateway: FakeGateway) -> list[str]:
    return [event.message.content for event in gateway.log]


async def take(subscription: object, count: int) -> list[str]:
    events: list[str] = []
    async with asyncio.timeout(60):
        while len(events) < count:
            event = await anext(subscription)  # type: ignore[call-overload]
            events.append(event.message.content)
    return events


async def test_a_message_is_answered(gateway: FakeGateway) -> None:
    async with client_of(gateway) as client:
        reply = await client.send("echo", "hello")

    assert reply.content == "you said: hello"
    assert reply.state == "succeeded"
    assert reply.execution_id == f"x-{gateway.runs[0]}"


async def test_text_streams_once_and_whole(gateway: FakeGateway) -> None:
    async with client_of(gateway) as client:
        answer = client.stream("echo", "hello world")
        pieces = [text async for text in answer]

    assert "".join(pieces) == "you said: hello world"
    assert answer.reply is not None
    assert answer.reply.content == "you said: hello world"


@pytest.mark.parametrize("point", ["got_send", "send_accepted", "partial"])
async def test_a_send_survives_a_cut_and_runs_once(gateway: FakeGateway, point: str) -> None:
    """The same idempotency key goes out again; each character of the stream still comes once."""
    gateway.cuts[point] = 1

    async with client_of(gateway) as client:
        text = "".join([part async for part in client.stream("echo", "hello world")])

    assert text == "you said: hello world"
    assert len(gateway.runs) == 1
    assert len(gateway.hellos) == 2
    assert gateway.hellos[1].resume_token == "resume-1"


async def test_errors_of_the_agent_are_typed(gateway: FakeGateway) -> None:
    async with client_of(gateway) as client:
        with pytest.raises(NotFound) as unknown:
            await client.send("nobody", "hello")
        with pytest.raises(ExecutionFailed, match="the model did not answer") as failed:
            await client.send("broken", "hello")

    assert unknown.value.reason == "AGENT_NOT_FOUND"
    assert failed.value.metadata["execution_id"].startswith("x-")


async def test_concurrent_publishes_share_frames_and_keep_their_order(gateway: FakeGateway) -> None:
    async with client_of(gateway) as client:
        events = [message(str(number)) for number in range(200)]
        await asyncio.gather(*(client.publish(event) for event in events))

    assert contents(gateway) == [str(number) for number in range(200)]
    assert len(gateway.batches) < 20
    assert all(event.id for event in events)


@pytest.mark.parametrize("point", ["got_publish", "stored"])
@pytest.mark.parametrize("nth", [1, 3])
async def test_what_is_acknowledged_is_stored_exactly_once(gateway: FakeGateway, point: str, nth: int) -> None:
    """Cut before the batch is stored, and between storing and acknowledging."""
    gateway.cuts[point] = nth

    async with client_of(gateway) as client:
        for start in range(0, 60, 10):
            await asyncio.gather(*(client.publish(message(str(start + at))) for at in range(10)))

    assert sorted(map(int, contents(gateway))) == list(range(60))
    assert len(gateway.hellos) == 2


async def test_a_bad_event_spoils_nobody_elses_publish(gateway: FakeGateway) -> None:
    """A refused batch is taken apart, so that only the one who sent the bad event is told."""
    gateway.reject_publish = lambda event: event.message.content == "bad"

    async with client_of(gateway) as client:
        results = await asyncio.gather(
            *(client.publish(message(text)) for text in ("one", "bad", "two")), return_exceptions=True
        )

    assert isinstance(results[1], InvalidArgument)
    assert sorted(contents(gateway)) == ["one", "two"]


async def test_close_waits_for_what_was_published(gateway: FakeGateway) -> None:
    client = client_of(gateway)
    await client.__aenter__()
    waiting = [asyncio.ensure_future(client.publish(message(str(number)))) for number in range(50)]
    await asyncio.sleep(0)

    await client.close()

    assert len(gateway.log) == 50
    assert [type(each) for each in await asyncio.gather(*waiting, return_exceptions=True)] == [str] * 50
    with pytest.raises(ClientClosed):
        await client.publish(message("late"))


async def test_a_subscription_goes_on_from_its_cursor_after_cuts(gateway: FakeGateway) -> None:
    """Durable events come once and in order, although every few deliveries the stream is cut."""
    async with client_of(gateway) as client, client.subscribe(event_filter(["message"])) as subscription:
        got: list[str] = []
        for start in range(0, 100, 10):
            gateway.cuts["delivered"] = 3
            for number in range(start, start + 10):
                gateway.add(message(str(number)))
            got += await take(subscription, 10)

        assert subscription.connects > 3

    assert got == [str(number) for number in range(100)]


async def test_the_cursor_advances_only_with_the_events_that_were_taken(gateway: FakeGateway) -> None:
    async with client_of(gateway) as client, client.subscribe() as subscription:
        gateway.add(*(message(str(number)) for number in range(5)))
        gateway.add(message("5"))

        first = await take(subscription, 4)
        before = subscription.cursor
        rest = await take(subscription, 1)
        after = subscription.cursor

    assert first + rest == ["0", "1", "2", "3", "4"]
    assert (before, after) == ("e1:0", "e1:5")
    async with client_of(gateway) as client, client.subscribe(since=before) as subscription:
        assert await take(subscription, 6) == ["0", "1", "2", "3", "4", "5"]


async def test_lost_history_is_raised_and_iterating_goes_on_behind_it(gateway: FakeGateway) -> None:
    gateway.add(*(message(str(number)) for number in range(10)))
    gateway.oldest = 7

    async with client_of(gateway) as client:
        subscription = client.subscribe(since="e1:2")
        with pytest.raises(HistoryLost) as lost:
            await anext(subscription)
        rest = await take(subscription, 3)

    assert lost.value.metadata["oldest_cursor"] == "e1:7"
    assert lost.value.gap == Gap("history_lost", None, "e1:7")
    assert rest == ["7", "8", "9"]


async def test_lost_history_can_be_told_instead(gateway: FakeGateway) -> None:
    gateway.add(*(message(str(number)) for number in range(3)))
    gaps: list[Gap] = []

    async with client_of(gateway) as client:
        subscription = client.subscribe(since="old:1", on_gap=gaps.append)
        assert await take(subscription, 3) == ["0", "1", "2"]

    assert [gap.reason for gap in gaps] == ["history_lost"]


async def test_a_slow_reader_bounds_the_buffer_and_loses_no_durable_event(gateway: FakeGateway) -> None:
    """The buffer holds one frame more than its bound; a publish on the same stream is not held up for ever."""
    async with client_of(gateway) as client, client.subscribe(event_filter(["message"]), buffer_bytes=2000) as slow:
        for number in range(300):
            gateway.add(message(f"{number:03d}" + "." * 100))
        async with asyncio.timeout(60):
            await client.publish(new_event("custom", {"n": 1}, custom_type="mine"))

        held = slow._room.used
        got = await take(slow, 300)

    assert held <= 2000 + 20_000
    assert [text[:3] for text in got] == [f"{number:03d}" for number in range(300)]


async def test_a_reader_that_publishes_in_its_loop_does_not_lock_itself_up(gateway: FakeGateway) -> None:
    async with client_of(gateway) as client, client.subscribe(event_filter(["message"]), buffer_bytes=100) as events:
        for number in range(20):
            gateway.add(message(str(number)))
        async with asyncio.timeout(60):
            for _ in range(20):
                event = await anext(events)
                await client.publish(new_event("custom", {"saw": event.message.content}, custom_type="saw"))

    assert len(gateway.log) == 40


async def test_missed_ephemeral_events_are_told(gateway: FakeGateway) -> None:
    gaps: list[Gap] = []
    async with client_of(gateway) as client:
        subscription = await client.subscribe(buffer_bytes=100, on_gap=gaps.append).started()
        for number in range(50):
            gateway.add(new_event("broadcast", {"content": str(number)}))
        await client.publish(message("marker"))
        async with asyncio.timeout(60):
            while (await anext(subscription)).message.content != "marker":
                pass

    assert [gap.reason for gap in gaps] == ["paused"]
    assert gaps[0].dropped


async def test_goodbye_is_followed_by_a_return(gateway: FakeGateway) -> None:
    async with client_of(gateway) as client, client.subscribe() as subscription:
        goodbye = pb.Goodbye(reason="restart")
        goodbye.reconnect_after.FromMilliseconds(50)
        gateway.streams[0].say(goodbye=goodbye)
        gateway.streams[0].out.put_nowait(None)
        gateway.add(message("later"))

        assert await take(subscription, 1) == ["later"]

    assert len(gateway.hellos) == 2


async def test_a_daemon_that_is_not_there_is_told_at_once(gateway: FakeGateway) -> None:
    await gateway.stop()

    with pytest.raises(Unavailable):
        async with asyncio.timeout(60):
            await Client(gateway.address, connect_timeout=0).__aenter__()


async def test_a_refused_hello_ends_everything_with_its_error(gateway: FakeGateway) -> None:
    error = Refusal(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", "the token has expired").frame()
    gateway.refuse_hello = pb.Refused(error=error, step=pb.RECOVERY_STEP_REAUTHENTICATE)

    with pytest.raises(Unauthenticated, match="expired"):
        await client_of(gateway).__aenter__()


async def test_a_revoked_token_ends_subscriptions_with_its_error(gateway: FakeGateway) -> None:
    gateway.required_token = "secret"
    async with client_of(gateway, token="secret") as client, client.subscribe() as subscription:
        gateway.required_token = "another"
        gateway.streams[0].cut()

        with pytest.raises(Unauthenticated):
            async with asyncio.timeout(60):
                await anext(subscription)


async def test_a_token_needs_an_address(gateway: FakeGateway) -> None:
    with pytest.raises(ValueError, match="address"):
        Client(token="secret")
    with pytest.raises(ValueError, match="in the clear"):
        Client("gateway.example:8765", token="secret")


async def test_a_batch_is_never_larger_than_the_daemon_takes(gateway: FakeGateway) -> None:
    """What is published at one time goes out in frames that fit; the ones that share a frame do not add up beyond."""
    gateway.max_message_bytes = 20_000

    async with client_of(gateway) as client:
        await asyncio.gather(*(client.publish(message(f"{number:02} {'x' * 3000}")) for number in range(30)))

    assert [text[:2] for text in contents(gateway)] == [f"{number:02}" for number in range(30)]
    assert len(gateway.hellos) == 1
    assert max(gateway.batches) > 1


async def test_an_event_that_the_daemon_would_never_take_fails_alone(gateway: FakeGateway) -> None:
    """It is told, and not sent again for ever; nor does it take others with it."""
    gateway.max_message_bytes = 20_000

    async with client_of(gateway) as client:
        results = await asyncio.gather(
            client.publish(message("one")),
            client.publish(message("x" * 30_000)),
            client.publish([message("x" * 9_000) for _ in range(3)]),
            client.publish(message("two")),
            client.send("echo", "x" * 30_000),
            return_exceptions=True,
        )

    assert [type(each) for each in results] == [str, LimitExceeded, LimitExceeded, str, LimitExceeded]
    assert "gateway.limits.message_bytes" in str(results[1])
    assert contents(gateway) == ["one", "two"]
    assert len(gateway.hellos) == 1


async def test_a_batch_in_flight_is_measured_anew_by_the_daemon_that_comes_back(gateway: FakeGateway) -> None:
    """The daemon may take less after a restart than before."""
    gateway.cuts["got_publish"] = 1
    gateway.on_hello = lambda number: setattr(gateway, "max_message_bytes", 4 << 20 if number == 1 else 8_000)

    async with client_of(gateway) as client:
        texts = [f"{number} {'x' * 3000}" for number in range(6)]
        results = await asyncio.gather(
            *(client.publish(message(text)) for text in texts),
            client.publish(message("x" * 10_000)),
            return_exceptions=True,
        )

    assert contents(gateway) == texts
    assert isinstance(results[-1], LimitExceeded)


async def test_a_client_that_closes_ends_its_stream_in_order(gateway: FakeGateway) -> None:
    """It has said its last word, and the daemon holds nothing for it."""
    async with client_of(gateway):
        pass

    assert gateway.half_closed == 1
    assert len(gateway.hellos) == 1
