"""SIGTERM with everybody at work: what can be finished is finished, and the rest goes on after the next start."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import grpc
import pytest
from gateway.v1 import event_service_pb2 as pb
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gatewayctl.client import Client, GatewayError, Subscription, event_filter, new_event
from gatewayctl.sdk.errors import from_frame
from gatewayctl.system import SystemClock
from gatewayd.channels.sim_network import SimPlatform
from gatewayd.core.clock import SystemClock as DaemonClock
from gatewayd.core.clock import SystemRandomness
from gatewayd.testing.sim_platform import serving
from tests.rigs.process import Daemon

STREAMS = 200
CONFIG = """
agents: {echo: {model: offline/echo}, slow: {model: offline/slow, timeout: 1h}}
gateway: {drain_timeout: 4, limits: {streams_per_client: 1000}}
channels: {sim: {server: "unix:SIM", routing: {dm: slow}}}
"""


class Eager(SystemClock):
    """Two hundred clients back off together; here they shall not take long."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.5))


async def logged(daemon: Daemon, text: str, count: int = 1) -> str:
    """The last line with that text, once there are so many."""
    async with asyncio.timeout(60):
        while len(lines := [line for line in daemon.log.read_text().splitlines() if text in line]) < count:
            await asyncio.sleep(0.02)
    return lines[-1]


async def follow(subscription: Subscription, last: str) -> list[str]:
    """What came, up to that."""
    seen = []
    async for event in subscription:
        seen.append(event.message.content)
        if seen[-1] == last:
            break
    return seen


async def test_F24_two_hundred_streams_and_running_work_survive_a_restart(tmp_path: Path) -> None:
    """Goodbye with a cursor, gap-free resume, short work done, long work taken up again, answers sent, exit 0."""
    network = SimPlatform(DaemonClock(), SystemRandomness())
    daemon = Daemon(tmp_path, CONFIG.replace("SIM", str(tmp_path / "net")))
    async with serving(network, tmp_path / "net"), daemon, contextlib.AsyncExitStack() as stack:
        clients = [Client(daemon.address, client_id=f"c{number}", clock=Eager()) for number in range(STREAMS)]
        await asyncio.gather(*(stack.enter_async_context(client) for client in clients))
        chosen = event_filter(types=["message"], stream_id="news")
        subscriptions = [client.subscribe(chosen) for client in clients]
        await asyncio.gather(*(subscription.started() for subscription in subscriptions))
        readers = [asyncio.create_task(follow(subscription, "end")) for subscription in subscriptions]
        await clients[0].publish([new_event("message", {"content": str(n)}, stream_id="news") for n in range(50)])
        short = [clients[n].stream("slow", f"250ms quick work {n}") for n in range(1, 21)]
        long = clients[0].stream("slow", "2s long work goes on")
        network.say("room", "ann", "250ms for the chat")
        await asyncio.gather(*(answer.accepted() for answer in (*short, long)))
        await network.wait_acknowledged(timeout=60)

        daemon.signal(signal.SIGTERM)
        began = time.monotonic()
        await logged(daemon, "stopping")
        assert await daemon.ended() == 0
        took = time.monotonic() - began

        assert took < 4 + 30, f"the drain took {took} s"
        assert [each.text for each in network.heard("room")] == ["for the chat"]
        assert "executions_cut_off" in daemon.log.read_text()
        await daemon.start()
        replies = await asyncio.wait_for(asyncio.gather(*(answer.wait() for answer in short)), 60)
        assert [reply.content for reply in replies] == [f"quick work {n}" for n in range(1, 21)]
        assert (await asyncio.wait_for(long.wait(), 60)).content == "long work goes on"
        await clients[0].publish([new_event("message", {"content": text}, stream_id="news") for text in ("50", "end")])
        expected = [*map(str, range(51)), "end"]
        for seen in await asyncio.wait_for(asyncio.gather(*readers), 60):
            assert seen == expected
        assert all(client._conversation.connects == 2 for client in clients)
        story = await clients[0].call(
            "EventService/ListEvents",
            pb.ListEventsRequest(page_size=100, filter=event_filter(types=["execution_interrupted"])),
            pb.ListEventsResponse,
        )
        assert {event.execution_id for event in story.events} == {long.execution_id}


async def test_F24_while_it_drains_health_says_so_and_new_work_is_refused_with_a_delay(tmp_path: Path) -> None:
    """The open stream hears goodbye with a cursor, a send is answered DRAINING, and probes see NOT_SERVING."""
    config = CONFIG.partition("channels:")[0]
    async with Daemon(tmp_path, config) as daemon, grpc.aio.insecure_channel(daemon.address) as channel:
        connect = channel.stream_stream(
            "/gateway.v1.EventService/Connect",
            request_serializer=pb.ConnectRequest.SerializeToString,
            response_deserializer=pb.ConnectResponse.FromString,
        )
        stream = connect()
        await stream.write(pb.ConnectRequest(hello=pb.Hello(client_id="raw", protocol_min=1, protocol_max=1)))
        assert (await stream.read()).HasField("welcome")
        send = pb.Send(agent="slow", text="1s still busy", idempotency_key="k1")
        await stream.write(pb.ConnectRequest(request_id="1", send=send))
        assert (await stream.read()).accepted.execution_id
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING

        daemon.signal(signal.SIGTERM)

        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        frame = await stream.read()
        assert frame.goodbye.cursor
        assert frame.goodbye.reconnect_after.ToTimedelta().total_seconds() > 0
        send = pb.Send(agent="slow", text="1ms too late", idempotency_key="k2")
        await stream.write(pb.ConnectRequest(request_id="2", send=send))
        frame = await stream.read()
        assert frame.request_id == "2"
        refusal = from_frame(frame.rejected.error)
        assert refusal.reason == "DRAINING"
        assert refusal.retry_after
        frame = await stream.read()
        assert (frame.request_id, frame.reply.final, frame.reply.content) == ("1", True, "still busy")
        with pytest.raises(GatewayError):
            async with Client(daemon.address, client_id="late", connect_timeout=0):
                pass
        assert await daemon.ended() == 0
        watch.cancel()
        stream.cancel()


async def test_F24_who_waits_for_an_event_is_told_to_come_again(tmp_path: Path) -> None:
    """A wait of minutes does not end as a broken call: DRAINING, with a delay."""
    async with Daemon(tmp_path, CONFIG.partition("channels:")[0]) as daemon, daemon.client() as client:
        request = pb.WaitForEventRequest(filter=event_filter(["goal_achieved"]))
        before = await subscriptions(client)
        waiting = asyncio.create_task(client.call("EventService/WaitForEvent", request, pb.WaitForEventResponse))
        async with asyncio.timeout(60):
            while await subscriptions(client) == before:
                await asyncio.sleep(0.01)
        daemon.signal(signal.SIGTERM)
        with pytest.raises(GatewayError) as refused:
            await waiting
        assert refused.value.reason == "DRAINING"
        assert refused.value.retry_after
        assert await daemon.ended() == 0


async def subscriptions(client: Client) -> int:
    request, answer = pb.GetEventStatsRequest(), pb.GetEventStatsResponse
    return (await client.call("EventService/GetEventStats", request, answer)).subscriptions


async def test_F25_a_second_signal_ends_it_at_once_and_loses_no_acknowledged_write(tmp_path: Path) -> None:
    """The long work is put back, what was published until then is there after the next start."""
    async with Daemon(tmp_path, CONFIG.partition("channels:")[0].replace("timeout: 4", "timeout: 60")) as daemon:
        acknowledged = 0
        async with daemon.client("one", close_timeout=0.1) as client:
            long = client.stream("slow", "60s x", idempotency_key="long")
            await long.accepted()

            async def publish() -> None:
                nonlocal acknowledged
                while True:
                    await client.publish(
                        new_event("message", {"content": str(acknowledged)}, stream_id="w", id=f"w{acknowledged}")
                    )
                    acknowledged += 1

            publishing = asyncio.create_task(publish())
            while acknowledged < 50:
                await asyncio.sleep(0.01)
            daemon.signal(signal.SIGTERM)
            await logged(daemon, "stopping")
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            assert await daemon.ended() == 0
            assert time.monotonic() - began < 30
            publishing.cancel()
            await asyncio.wait([publishing])

        await daemon.start()

        async with daemon.client("one") as client:
            chosen = event_filter(types=["message"], stream_id="w")
            request = pb.ListEventsRequest(page_size=1000, filter=chosen)
            kept = await client.call("EventService/ListEvents", request, pb.ListEventsResponse)
            contents = [event.message.content for event in reversed(kept.events)]
            assert contents[:acknowledged] == [str(number) for number in range(acknowledged)]
            assert len(contents) <= acknowledged + 1
            again = client.stream("slow", "60s x", idempotency_key="long")
            await again.accepted()
            assert again.execution_id == long.execution_id
            interrupted = event_filter(types=["execution_interrupted"], execution_id=long.execution_id)
            request = pb.ListEventsRequest(page_size=10, filter=interrupted)
            assert len((await client.call("EventService/ListEvents", request, pb.ListEventsResponse)).events) == 1
            await client.cancel(long.execution_id)


async def test_F24_what_was_queued_goes_on_in_its_order_after_the_start(tmp_path: Path) -> None:
    """Three turns of one session, cut in the first: each is answered once, in the order in which they were asked."""
    network = SimPlatform(DaemonClock(), SystemRandomness())
    config = CONFIG.replace("SIM", str(tmp_path / "net")).replace("timeout: 4", "timeout: 200ms")
    async with serving(network, tmp_path / "net"), Daemon(tmp_path, config) as daemon:
        for text in ("2s first", "1ms second", "1ms third"):
            network.say("room", "ann", text)
        await network.wait_acknowledged(timeout=60)
        assert await daemon.stop() == 0
        assert network.heard("room") == []

        await daemon.start()

        heard = await network.wait_heard(3, "room", timeout=60)
        assert [each.text for each in heard] == ["first", "second", "third"]


STUBBORN = '''
"""A tool that does not take no for an answer."""

import asyncio


async def stubborn() -> str:
    """Wait for ever."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
'''


async def test_F26_a_handler_that_ignores_cancellation_is_named_and_left_behind(tmp_path: Path) -> None:
    """An installed tool swallows its cancellation: the daemon ends all the same, with 0, and says who it was."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    offers = tmp_path / "stubborn-1.0.dist-info"
    offers.mkdir()
    (offers / "METADATA").write_text("Metadata-Version: 2.1\nName: stubborn\nVersion: 1.0\n")
    (offers / "entry_points.txt").write_text("[gatewayd.tools]\nstubborn = stubborn:stubborn\n")
    config = "agents: {a: {model: offline/assistant, tools: [stubborn]}}\ngateway: {drain_timeout: 1}\n"
    daemon = Daemon(tmp_path, config)
    daemon.environ["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    async with daemon, daemon.client(close_timeout=0.1) as client:
        events = await client.subscribe(event_filter(types=["tool_call_started"])).started()
        answer = client.stream("a", "call the tool stubborn")
        execution = await answer.accepted()
        assert (await anext(events)).tool_call_started.tool_name == "stubborn"
        began = time.monotonic()

        daemon.signal(signal.SIGTERM)

        assert await daemon.ended() == 0
        assert time.monotonic() - began < 1 + 30
        line = await logged(daemon, "tasks_left_behind")
        assert "stubborn.py" in line
        await daemon.start()
        assert (await asyncio.wait_for(anext(events), 60)).execution_id == execution
        await daemon.kill()
