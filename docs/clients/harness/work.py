"""What every worker has to live through: calls that it answers, one that it cannot, one over a cut connection, and one
that nobody waits for any more; questions that come as events; and a reload that takes its agent away.

The connection is cut while a call is being answered, and the daemon has then already sent what never arrives: that it
has taken the worker's event, or a piece of the answer. So the worker says that twice, and it must count once.
"""

import asyncio
import signal
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from itertools import cycle, islice

from harness.child import Failed, complaint, running, until
from harness.daemon import AGENT, Daemon
from harness.proxy import CutProxy

from gatewayctl.client import Cancelled, Client, Event, ExecutionFailed, Subscription, event_filter, new_event

ANSWER = "Order 7: 7 × A-7, paid, packed, handed over and on its way to Zürich 🚚"
CANNOT = 'Ask me for an order, such as "order 7".'
WHY_IT_ENDS = f"a reload has ended the registration: there is no agent '{AGENT}'"
DEADLINE = 90.0
"""Seconds for all of it; a busy machine needs some of them."""
ATTEMPTS = 2
"""How often the worker has to find the door closed before it is let in again."""


async def answers_calls(daemon: Daemon, command: Sequence[str]) -> None:
    """The worker through all of it, from its start to a signal that ends it. Raises Failed."""
    async with (
        asyncio.timeout(DEADLINE),
        CutProxy(daemon.port) as proxy,
        Client(daemon.local) as client,
        client.subscribe(event_filter(["tool_call_started"])) as log,
        running([*command, AGENT], proxy.port, daemon.token) as process,
    ):
        await until(process, "registered")

        reply = await client.send(AGENT, "Where is order 7?")
        _same("the answer", reply.content, ANSWER)
        _told(await anext(log), reply.execution_id)
        _same("connections taken up", (await until(process, "answered"))["resumed"], 0)
        try:
            await client.send(AGENT, "Hello?")
            raise Failed("what cannot be answered was answered")
        except ExecutionFailed as failure:
            _same("the refusal", failure.message, CANNOT)

        await _cut_off(client, proxy, log)
        _same("connections taken up", (await until(process, "answered"))["resumed"], 1)

        cancelled = await _cancelled(client)
        _told(await anext(log), cancelled)
        await until(process, "cancelled")
        _same("the answer after that", (await client.send(AGENT, "order 7")).content, ANSWER)
        await until(process, "answered")

        process.send_signal(signal.SIGTERM)
        _same("the exit code after SIGTERM", await process.wait(), 0)


async def answers_events(daemon: Daemon, command: Sequence[str]) -> None:
    """Questions that are addressed to the agent; the first of somebody who is gone by then. Raises Failed."""
    async with asyncio.timeout(DEADLINE), Client(daemon.local) as client:
        async with Client(daemon.local) as impatient:
            await impatient.publish(_question(7, correlation_id="nobody waits"))  # it waits for a worker
        async with running([*command, AGENT], daemon.port, daemon.token, stderr=PIPE) as process:
            await complaint(process, impatient.client_id)
            answers = await asyncio.gather(*(client.request(_question(n), timeout=DEADLINE) for n in range(20)))
            told = [(each.custom_type, each.custom.json["text"]) for each in answers]
            _same("what was told", told, [("order.told", f"Order {number} is on its way.") for number in range(20)])
            process.send_signal(signal.SIGTERM)
            _same("the exit code after SIGTERM", await process.wait(), 0)


async def loses_its_agent(daemon: Daemon, command: Sequence[str]) -> None:
    """A reload takes the agent away: the worker ends what it has begun, then itself, and says why. Raises Failed."""
    async with (
        asyncio.timeout(DEADLINE),
        Client(daemon.local) as client,
        running([*command, AGENT], daemon.port, daemon.token, stderr=PIPE) as process,
    ):
        await until(process, "registered")
        asking = client.stream(AGENT, "order 7")
        await anext(aiter(asking))
        async with daemon.without_agent():
            _same("the answer that had begun", (await asking.wait()).content, ANSWER)
            await complaint(process, WHY_IT_ENDS)
            _same("the exit code without an agent", await process.wait(), 1)


def _question(number: int, **envelope: str) -> Event:
    data = {"order": number}
    return new_event("custom", data, custom_type="order.asked", ephemeral=True, target=AGENT, **envelope)


async def _cut_off(client: Client, proxy: CutProxy, log: Subscription) -> None:
    """Cut the connection as soon as the worker tells of its work; the answer comes whole, and each piece once."""
    asking = client.stream(AGENT, "order 7")
    execution = await asking.accepted()
    _told(await anext(log), execution)
    proxy.freeze()
    await proxy.has_swallowed(1)
    await proxy.cut()
    await proxy.has_refused(ATTEMPTS)
    proxy.let_in()
    _same("the pieces of the answer", "".join([piece async for piece in asking]), ANSWER)
    _same("the answer over a cut connection", (await asking.wait()).content, ANSWER)


async def _cancelled(client: Client) -> str:
    """Ask for what has no end, and cancel it; the execution."""
    asking = client.stream(AGENT, "watch order 7")
    said = ""
    async for piece in asking:
        said += piece
        if len(said) > len(ANSWER):
            break
    first, *rest = ANSWER.split()
    endless = first + "".join(f" {word}" for word in islice(cycle(rest), len(said)))
    if not endless.startswith(said):
        raise Failed(f"what is told again and again came as {said!r}")
    await client.cancel(await asking.accepted())
    try:
        await asking.wait()
        raise Failed("a cancelled call was answered")
    except Cancelled:
        return asking.execution_id


def _told(event: Event, execution: str) -> None:
    """The worker's own event, of that execution; a second one of the same would be the next that is looked at."""
    _same("the execution of the worker's event", event.execution_id, execution)
    told = event.tool_call_started
    _same("the worker's event", (told.tool_name, dict(told.tool_input)), ("orders", {"order": "7"}))


def _same(what: str, is_: object, should_be: object) -> None:
    if is_ != should_be:
        raise Failed(f"{what} is {is_!r}, not {should_be!r}")
