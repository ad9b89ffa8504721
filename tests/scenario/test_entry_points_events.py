"""Entry points that start by themselves: on events, on messages, and in time."""

import asyncio
import json
from pathlib import Path
from typing import Any

from gateway.v1 import execution_pb2

from tests.rigs.entry_points import entry_points, executions, reload, state_name
from tests.rigs.house import House, eventually, house
from tests.rigs.webhooks import SECRET, Sender, github

AGENTS = "agents: {echo: {model: offline/echo}, slow: {model: offline/slow}}\n"


async def ended(rig: House, entry_point: str, count: int) -> list[execution_pb2.Execution]:
    """The executions of an entry point, once so many have ended and none is left."""

    async def there() -> list[execution_pb2.Execution] | None:
        found = await executions(rig, entry_point)
        return found if len(found) == count and all(state_name(one) == "succeeded" for one in found) else None

    return await eventually(there)


async def inputs(rig: House, entry_point: str) -> list[Any]:
    """What its executions were given, in order."""
    events = await rig.events("execution_started", stream_id=entry_point)
    return [json.loads(event.execution_started.input["text"])["event"] for event in events]


async def test_an_event_starts_one_execution_that_is_given_the_event(tmp_path: Path) -> None:
    """Types, stream, node and topic select; the whole event is the input; its owner is the entry point itself."""
    config = AGENTS + (
        "entry_points:\n"
        "  orders: {agent: echo, trigger: event, trigger_config: {event_types: [custom], filter_topic: orders.>}}\n"
        "  mine: {agent: echo, trigger: event, trigger_config: {event_types: [custom, message], filter_stream: test}}\n"
        "  node: {agent: echo, trigger: event, trigger_config: {event_types: custom, filter_node: n1}}\n"
        "  talk: {agent: echo, trigger: message, trigger_config: {topic: talk.*}}\n"
        "  hooks: {agent: echo, trigger: webhook, trigger_config: {source_id: github}}\n"
        f"gateway: {{http: {{port: 0}}}}\nwebhooks: {{github: {{path: /hooks/github, secret: {SECRET}}}}}\n"
    )
    async with house(tmp_path, config) as rig:
        await rig.client.emit_custom("order", {"n": 5}, topic="orders.eu")
        await rig.client.emit_custom("noise", {}, topic="other")
        await rig.client.emit_custom("noted", {}, node_id="n1")
        await rig.client.emit_message("hello", topic="talk.a")

        (order,) = await ended(rig, "orders", 1)
        await ended(rig, "mine", 4)
        await ended(rig, "node", 1)
        await ended(rig, "talk", 1)

        (given,) = await inputs(rig, "orders")
        assert (given["type"], given["data"], given["topic"], given["source"]) == (
            "order",
            {"n": 5},
            "orders.eu",
            "local",
        )
        assert (await inputs(rig, "talk"))[0]["data"]["content"] == "hello"
        assert (await inputs(rig, "node"))[0]["node_id"] == "n1"
        assert (order.principal, order.origin) == ("entry_point:orders", execution_pb2.ORIGIN_EVENT)
        assert await executions(rig, "hooks") == []

        async with Sender(rig.daemon) as github_com:
            for delivery in ("first", "second", "first"):
                body = json.dumps({"delivery": delivery}).encode()
                assert await github_com.status("/hooks/github", body, github(body, delivery)) == 202
        await ended(rig, "hooks", 2)
        payloads = [given["data"]["payload"] for given in await inputs(rig, "hooks")]
        assert payloads == [{"delivery": "first"}, {"delivery": "second"}]


async def test_an_entry_point_does_not_start_itself_unless_it_is_told_to(tmp_path: Path) -> None:
    """Events of its own executions are left out, those of others not; include_own takes the guard away."""
    watch = "trigger: event, trigger_config: {event_types: execution_completed"
    config = f"{AGENTS}entry_points:\n  ask: {{agent: echo}}\n  watch: {{agent: echo, {watch}}}}}\n"
    async with house(tmp_path, config) as rig:
        await rig.client.trigger_and_wait("ask", "one")
        await rig.client.trigger_and_wait("ask", "two")
        await ended(rig, "watch", 2)

        assert [given["stream_id"] for given in await inputs(rig, "watch")] == ["ask", "ask"]

        await reload(rig, config.replace("execution_completed", "execution_completed, include_own: true"))
        await rig.client.trigger_and_wait("ask", "three")

        async def turns() -> bool:
            return len(await executions(rig, "watch")) >= 6

        await eventually(turns)
        await reload(rig, AGENTS)


async def test_each_event_starts_one_execution_over_a_crash(tmp_path: Path) -> None:
    """kill -9 while events wait for their turn: after the start each has started exactly one execution, in order."""
    config = AGENTS + (
        "entry_points:\n  watch: {agent: slow, max_concurrent: 1, trigger: event,"
        " trigger_config: {event_types: [custom]}}\n"
    )
    async with house(tmp_path, config) as rig:
        for round_ in range(2):
            for number in range(4):
                await rig.client.emit_custom("tick", {"n": round_ * 4 + number})
            await rig.daemon.kill()
            await rig.daemon.start()
            await rig.reconnect()
        await rig.client.emit_custom("tick", {"n": 8})
        await reload(rig, config.replace("offline/slow", "offline/echo"))
        await ended(rig, "watch", 9)

        assert len(await rig.events("execution_queued", stream_id="watch")) == 9
        completed = await rig.events("execution_completed", stream_id="watch")
        given = [json.loads(event.execution_completed.output["text"])["event"]["data"]["n"] for event in completed]
        assert given == list(range(9))


async def test_an_entry_point_that_comes_back_does_not_catch_up(tmp_path: Path) -> None:
    """Removed by a reload it hears nothing; once it is back, it begins with what happens then."""
    entry = "entry_points:\n  watch: {agent: echo, trigger: event, trigger_config: {event_types: [custom]}}\n"
    async with house(tmp_path, AGENTS + entry) as rig:
        await rig.client.emit_custom("first", {"n": 1})
        await ended(rig, "watch", 1)
        await reload(rig, AGENTS)
        await rig.client.emit_custom("missed", {"n": 2})
        await reload(rig, AGENTS + entry)
        await rig.client.emit_custom("last", {"n": 3})
        await ended(rig, "watch", 2)

        assert [given["type"] for given in await inputs(rig, "watch")] == ["first", "last"]


async def test_a_message_on_a_channel_starts_an_entry_point_beside_its_agent(tmp_path: Path) -> None:
    """The agent of the channel's routing answers; the entry point is given the message too."""
    config = AGENTS + (
        "channels: {desk: {platform: local, routing: {default: echo}}, other: {platform: local, routing: {dm: echo}}}\n"
        "entry_points:\n  log: {agent: echo, trigger: message, trigger_config: {channel: desk}}\n"
    )
    async with house(tmp_path, config) as rig:
        await rig.client.send("", "elsewhere", channel="other")
        reply = await rig.client.send("", "at the desk", channel="desk")
        await ended(rig, "log", 1)

        assert reply.content == "at the desk"
        assert [given["data"]["content"] for given in await inputs(rig, "log")] == ["at the desk"]


async def test_a_timer_starts_in_time(tmp_path: Path) -> None:
    """At once where it is told to, then at its interval; a cron tells when it will be; a reload ends it."""
    config = AGENTS + (
        "entry_points:\n"
        "  soon: {agent: echo, trigger: timer, trigger_config: {interval_minutes: 0.01, run_immediately: true}}\n"
        "  yearly: {agent: echo, trigger: timer, trigger_config: {cron: 0 3 1 1 *, timezone: Europe/Berlin}}\n"
    )
    async with house(tmp_path, config) as rig:

        async def three() -> bool:
            return len(await inputs(rig, "soon")) >= 3

        await eventually(three)
        given = await inputs(rig, "soon")
        assert [one["reason"] for one in given[:3]] == ["immediately", "scheduled", "scheduled"]
        assert {one["source"] for one in given} == {"timer"}
        assert len({one["instant"] for one in given}) == len(given)
        listed = await entry_points(rig)
        when = listed["yearly"].next_time.ToDatetime()
        assert (when.month, when.day, when.hour, when.minute) == (1, 1, 2, 0)
        assert listed["soon"].HasField("next_time")
        assert (await executions(rig, "soon"))[0].origin == execution_pb2.ORIGIN_TIMER

        await reload(rig, AGENTS)
        count = len(await executions(rig, "soon"))
        await asyncio.sleep(1.0)  # longer than the interval was
        assert len(await executions(rig, "soon")) == count
