"""What is addressed to an agent that workers answer for: it comes to one of them, and they may answer who asked."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import pytest_asyncio
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import Client, Event, NotFound, event_filter, new_event
from tests.rigs.house import House, eventually, house
from tests.rigs.in_process import InProcess
from tests.rigs.stream import RawStream, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKENS = {name: f"gw_{name}_{'0' * 43}" for name in ("ann", "bob", "maker", "rival")}
DIGESTS = {name: sha256(token.encode()).hexdigest() for name, token in TOKENS.items()}
CONFIG = f"""
gateway: {{heartbeat_interval: 1s, reconnect_timeout: 30s}}
agents:
  tailor: {{remote: true}}
  baker: {{remote: true}}
  inside: {{model: offline/echo}}
entry_points:
  heard: {{agent: inside, trigger: event, trigger_config: {{event_types: [custom], filter_stream: asks}}}}
clients:
  ann:
    token_sha256: {DIGESTS["ann"]}
    scopes: ["events.subscribe:*@*", "events.publish:*@*", "agents.send:*"]
  bob:
    token_sha256: {DIGESTS["bob"]}
    scopes: ["events.subscribe:*@*", "events.publish:*@*", "agents.send:tailor"]
  maker:
    token_sha256: {DIGESTS["maker"]}
    scopes: ["events.subscribe:*@*", "events.publish:*@*", "agents.register:tailor"]
  rival:
    token_sha256: {DIGESTS["rival"]}
    scopes: ["events.subscribe:*@*", "events.publish:*@*", "agents.register:*"]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("agents"), CONFIG) as rig:
        yield rig


def note(number: int, target: str = "tailor", *, ephemeral: bool = False, text: str = "", **more: str) -> Event:
    data = {"n": number, "text": text}
    return new_event("custom", data, custom_type="note", target=target, ephemeral=ephemeral, **more)


async def take(events: AsyncIterator[Event], count: int = 1) -> list[Event]:
    async with asyncio.timeout(60):
        return [await anext(events) for _ in range(count)]


def numbers(events: list[Event]) -> list[int]:
    return [int(event.custom.json["n"]) for event in events]


def client(rig: House, who: str, client_id: str) -> Client:
    return rig.daemon.client(client_id, token=TOKENS[who])


class Worker(RawStream):
    """A client that answers for an agent and takes what is addressed to it."""

    async def serve(self, client_id: str, agent: str = "tailor", token: str = "") -> str:
        """Register; the resume token."""
        welcome = await self.hello(client_id, token)
        await self.accepted(await self.ask(pb.ConnectRequest(register_agent=pb.RegisterAgent(agent=agent))))
        return welcome.resume_token

    async def mail(self, count: int = 1) -> list[Event]:
        """The next events that come to the connection itself, heartbeats left out."""
        events: list[Event] = []
        while len(events) < count:
            frame = await self.take("addressed")
            events += [event for event in frame.delivery.events if not event.HasField("heartbeat")]
        return events


@asynccontextmanager
async def worker(
    rig: House, client_id: str = "needle", agent: str = "tailor", who: str = "maker"
) -> AsyncIterator[Worker]:
    async with Worker(rig.daemon.address, token=TOKENS[who]) as stream:
        await stream.serve(client_id, agent)
        yield stream
        await stream.half_close()
        await stream.ended()


async def up_to(stream: Worker, last: int) -> list[int]:
    """The numbers of all that comes before that one."""
    found: list[int] = []
    while last not in found:
        found += numbers(await stream.mail())
    return found[: found.index(last)]


async def gone(rig: House, client_id: str) -> None:
    """The daemon has noticed that the client's connection is over."""

    async def noticed() -> bool:
        came = len(await rig.events("connect", stream_id=client_id))
        return len(await rig.events("disconnect", stream_id=client_id)) == came

    await eventually(noticed)


# To a worker


async def test_it_comes_to_the_worker_and_to_nobody_else(rig: House) -> None:
    """P4.1: an event with a target reaches only that agent, durable or not."""
    async with worker(rig) as tailor, client(rig, "ann", "shop") as shop, client(rig, "rival", "spy") as spy:
        async with spy.subscribe(event_filter(types=["custom"])) as seen:
            assert await shop.announce([note(1), note(2, ephemeral=True)]) == 2
            assert numbers(await tailor.mail(2)) == [1, 2]
            await rig.client.publish(note(9, ""))
            assert numbers(await take(seen)) == [9]


async def test_who_may_not_send_to_the_agent_cannot_address_it(rig: House) -> None:
    """To others it does not exist (P13.2)."""
    async with worker(rig, "oven", "baker", "rival"), client(rig, "bob", "b") as bob:
        with pytest.raises(NotFound):
            await bob.announce(note(1, "baker"))


async def test_each_event_comes_to_one_of_several_workers_and_a_session_to_the_same(rig: House) -> None:
    """They share the load by key, as calls do (P3.3)."""
    async with worker(rig, "one") as one, worker(rig, "two", who="rival") as two, client(rig, "ann", "many") as ann:
        assert await ann.announce([note(n, correlation_id=f"c{n % 40}") for n in range(200)]) == 200
        await rig.client.announce([note(999, "one"), note(999, "two")])
        first, second = await up_to(one, 999), await up_to(two, 999)

    assert first
    assert second
    assert sorted(first + second) == list(range(200))
    assert {n % 40 for n in first}.isdisjoint(n % 40 for n in second)


# Nobody there


async def test_what_comes_before_a_worker_does_waits_for_it(rig: House) -> None:
    """For reconnect_timeout; the count says that it reaches nobody yet."""
    async with client(rig, "ann", "early") as ann:
        assert await ann.announce([note(1), note(2, ephemeral=True)]) == 0
        async with worker(rig) as tailor:
            assert await ann.announce(note(3)) == 1
            assert numbers(await tailor.mail(3)) == [1, 2, 3]


async def test_what_waits_for_an_agent_is_bounded_and_the_loss_is_told(rig: House) -> None:
    """The oldest go first; a gap stands in their place (P3.6)."""
    async with client(rig, "ann", "flood") as ann:
        for number in range(12):
            await ann.announce(note(number, text="x" * 50_000))
        async with worker(rig) as tailor:
            gap = (await tailor.take("gap")).gap
            kept = await tailor.mail(12 - gap.dropped)

    assert gap.dropped > 0
    assert numbers(kept) == list(range(gap.dropped, 12))


async def test_the_mail_of_a_worker_that_says_goodbye_goes_to_another(rig: House) -> None:
    """What waits for it while it is cut off is its own for reconnect_timeout, and then the next one's."""
    async with Worker(rig.daemon.address, token=TOKENS["maker"]) as first:
        token = await first.serve("leaver")
    await gone(rig, "leaver")
    async with client(rig, "ann", "patient") as ann:
        await ann.announce(note(1))  # nobody is there: it waits for the agent
        async with Worker(rig.daemon.address, token=TOKENS["maker"]) as again:
            await again.serve("leaver", token=token)
            assert numbers(await again.mail()) == [1]
            await again.half_close()
            await again.ended()
        await gone(rig, "leaver")
        await ann.announce(note(2))
        async with worker(rig, "other", who="rival") as other:
            assert numbers(await other.mail()) == [2]


async def test_for_an_agent_inside_the_daemon_it_starts_entry_points(rig: House) -> None:
    """It has no worker, and nothing waits for one."""
    async with client(rig, "ann", "asks") as ann:
        assert await ann.announce(note(77, "inside")) == 0

    async def started() -> list[Event]:
        return await rig.events("execution_started", stream_id="heard")

    (event,) = await eventually(started)
    assert json.loads(event.execution_started.input["text"])["event"]["target"] == "inside"


async def test_while_the_daemon_answers_for_it_its_workers_get_nothing(tmp_path: Path) -> None:
    """A reload takes the agent from them, another gives it back; one that does not want to be told stays registered."""
    remote, inside = "agents: {far: {remote: true}}\n", "agents: {far: {model: offline/echo}}\n"
    async with InProcess(tmp_path, remote) as gateway, gateway.client("c") as asker:
        async with Worker(f"unix:{gateway.paths.socket}") as far:
            await far.serve("w", "far")
            assert await asker.announce(note(1, "far")) == 1
            for number, config, count in ((2, inside, 0), (3, remote, 1)):
                await gateway.reload(config)
                assert await asker.announce(note(number, "far")) == count
            assert numbers(await far.mail(2)) == [1, 3]


# Answers


async def answer(tailor: Worker, question: Event, number: int, **changed: str) -> pb.ConnectResponse:
    """A worker's answer, and what the gateway says to it."""
    more = {"target": question.stream_id, "correlation_id": question.correlation_id, **changed}
    event = new_event("custom", {"n": number}, custom_type="note", ephemeral=True, **more)
    return await tailor.answer(await tailor.ask(pb.ConnectRequest(publish=pb.Publish(events=[event]))))


async def test_a_worker_may_answer_who_asked_and_no_other_of_that_principal(rig: House) -> None:
    """Two principals meet as far as the question goes (P13.2): its client, its correlation id."""
    async with worker(rig) as tailor, client(rig, "ann", "front") as ann, client(rig, "ann", "back") as back:
        await ann.announce(note(1, correlation_id="suit"))
        (question,) = await tailor.mail()
        assert (question.source, question.stream_id, question.target) == ("ann", "front", "tailor")

        for wrong in ({"target": "back"}, {"target": "ann"}, {"correlation_id": "other"}, {"correlation_id": ""}):
            refused = await answer(tailor, question, 2, **wrong)
            assert reason_of(refused.rejected.error) == "NOT_FOUND", wrong
        assert (await answer(tailor, question, 3)).accepted.count == 1
        assert (await answer(tailor, question, 4)).accepted.count == 1  # in as many parts as it likes

        assert numbers(await take(ann.addressed(), 2)) == [3, 4]
        await back.announce(note(5, "back"))
        assert numbers(await take(back.addressed())) == [5]


async def test_another_worker_may_not_answer_what_it_was_not_asked(rig: House) -> None:
    async with worker(rig) as tailor, worker(rig, "oven", "baker", "rival") as baker, client(rig, "ann", "c") as ann:
        await ann.announce(note(1, correlation_id="suit"))
        (question,) = await tailor.mail()
        assert reason_of((await answer(baker, question, 2)).rejected.error) == "NOT_FOUND"
        assert (await answer(tailor, question, 3)).accepted.count == 1
        assert numbers(await take(ann.addressed())) == [3]


async def test_clients_of_one_name_are_told_apart_by_the_question(rig: House) -> None:
    """Two principals call their clients alike: each gets the answer to its own question, or nobody gets any."""
    async with worker(rig) as tailor, client(rig, "ann", "app") as ann, client(rig, "bob", "app") as bob:
        await ann.announce(note(1, correlation_id="a"))
        await bob.announce(note(2, correlation_id="b"))
        first, second = await tailor.mail(2)
        await answer(tailor, first, 11)
        await answer(tailor, second, 12)
        assert numbers(await take(ann.addressed())) == [11]
        assert numbers(await take(bob.addressed())) == [12]

        await ann.announce(note(3, correlation_id="same"))
        await bob.announce(note(4, correlation_id="same"))
        third, fourth = await tailor.mail(2)
        assert reason_of((await answer(tailor, third, 13)).rejected.error) == "INVALID_ARGUMENT"
        assert reason_of((await answer(tailor, fourth, 14)).rejected.error) == "INVALID_ARGUMENT"


async def test_who_asked_and_is_gone_is_nobody_whoever_else_bears_the_name(rig: House) -> None:
    """Of the other principal's client the worker is not even told that it exists (P13.2)."""
    async with worker(rig) as tailor, client(rig, "bob", "namesake") as bob:
        async with client(rig, "ann", "namesake") as ann:
            await ann.announce(note(1, correlation_id="hem"))
            (question,) = await tailor.mail()

        async def refused() -> bool:
            said = await answer(tailor, question, 2)
            return said.HasField("rejected") and reason_of(said.rejected.error) == "NOT_FOUND"

        await eventually(refused)
        await rig.client.publish(note(3, "bob"))
        assert numbers(await take(bob.addressed())) == [3]


async def test_an_answer_waits_for_who_asked_and_was_cut_off(rig: House) -> None:
    """For reconnect_timeout, as everything that is addressed (P2.4)."""
    async with worker(rig) as tailor:
        async with Worker(rig.daemon.address, token=TOKENS["ann"]) as first:
            token = (await first.hello("cut")).resume_token
            asked = note(1, correlation_id="long")
            await first.accepted(await first.ask(pb.ConnectRequest(publish=pb.Publish(events=[asked]))))
            (question,) = await tailor.mail()
        await gone(rig, "cut")
        await answer(tailor, question, 2)
        async with Worker(rig.daemon.address, token=TOKENS["ann"]) as again:
            await again.hello("cut", token)
            assert numbers(await again.mail()) == [2]
