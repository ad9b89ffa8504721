"""A reload changes what a client may do: its connections begin anew with the new scopes, or end with the token."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import (
    Client,
    ConnectionReplaced,
    PermissionDenied,
    Subscription,
    Unauthenticated,
    Unavailable,
    event_filter,
    new_event,
)
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess

TOKEN = f"gw_robot_{'0' * 43}"
BOTH, LEFT = ["a.>", "b.>"], ["a.>"]
PATIENCE = 60


def config(topics: list[str] | None) -> str:
    """What the robot may hear; None is a gateway that does not know it."""
    if topics is None:
        return "agents: {echo: {model: offline/echo}}\n"
    scopes = ", ".join(f'"events.subscribe:custom@{topic}"' for topic in topics)
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    return config(None) + f"clients: {{robot: {{token_sha256: {digest}, scopes: [{scopes}]}}}}\n"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with InProcess(tmp_path, config(BOTH)) as gateway:
        yield gateway


@pytest.fixture
async def robot(gateway: InProcess) -> AsyncIterator[Client]:
    async with Client(f"unix:{gateway.paths.socket}", token=TOKEN, client_id="robot") as client:
        yield client


async def heard(subscription: Subscription) -> list[float]:
    """The numbers of the next two events."""
    async with asyncio.timeout(PATIENCE):
        return [(await anext(subscription)).custom.json["n"] for _ in range(2)]


async def test_with_other_scopes_the_client_goes_on_with_what_it_may_still_hear(
    gateway: InProcess, robot: Client
) -> None:
    """From its cursor: nothing is left out. What it may hear no more is refused there."""
    async with (
        gateway.client("says") as says,
        robot.subscribe(event_filter(["custom"], topic="a.x")) as kept,
        robot.subscribe(event_filter(["custom"], topic="b.x")) as lost,
    ):

        async def say(number: int) -> None:
            await says.publish(new_event("custom", {"n": number}, custom_type="note", topic="a.x"))

        await say(1)
        await gateway.reload(config(LEFT))
        await say(2)
        assert await heard(kept) == [1, 2]
        with pytest.raises(PermissionDenied):
            await asyncio.wait_for(anext(lost), PATIENCE)

        await gateway.reload(config(BOTH))
        await say(3)
        await say(4)
        assert await heard(kept) == [3, 4]
        async with robot.subscribe(event_filter(["custom"], topic="b.x")):
            pass


async def test_a_call_that_waits_may_be_made_again(gateway: InProcess, robot: Client) -> None:
    """The error is one after which generated clients try again, and not the one after which they ask for a token."""
    request = pb.WaitForEventRequest(filter=event_filter(["custom"], topic="a.x"))
    waiting = asyncio.create_task(robot.call("EventService/WaitForEvent", request, pb.WaitForEventResponse))
    await eventually(lambda: _waits(gateway))
    await gateway.reload(config(LEFT))
    with pytest.raises(Unavailable, match="scopes of this client were changed"):
        await asyncio.wait_for(waiting, PATIENCE)


async def _waits(gateway: InProcess) -> bool:
    return bool(gateway.house.waits._open)


async def test_without_its_token_everything_of_the_client_ends(gateway: InProcess, robot: Client) -> None:
    """Also who waits for what is addressed to it, which has no subscription that could end."""
    addressed = asyncio.ensure_future(anext(robot.addressed()))
    async with robot.subscribe(event_filter(["custom"], topic="a.x")) as events:
        await gateway.reload(config(None))
        for waiting in (anext(events), addressed, robot.subscribe(event_filter(["custom"], topic="a.x")).started()):
            with pytest.raises(Unauthenticated):
                await asyncio.wait_for(waiting, PATIENCE)


async def test_a_client_that_another_displaces_hears_of_it_where_it_waits_for_what_is_addressed_to_it(
    gateway: InProcess,
) -> None:
    async with gateway.client("twin") as first:
        addressed = asyncio.ensure_future(anext(first.addressed()))
        async with gateway.client("twin"):
            with pytest.raises(ConnectionReplaced):
                await asyncio.wait_for(addressed, PATIENCE)
