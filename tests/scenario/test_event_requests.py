"""Questions and answers by events in the SDK: `request` and `answer`, between clients and with agents of workers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest
import pytest_asyncio

from gatewayctl.client import (
    Call,
    Client,
    ClientClosed,
    ConnectionReplaced,
    DeadlineExceeded,
    Event,
    LimitExceeded,
    NotFound,
    event_filter,
    new_event,
)
from gatewayctl.sdk import awaited
from gatewayctl.system import SystemClock
from tests.rigs.house import House, eventually, house

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANN = f"gw_ann_{'0' * 43}"
CONFIG = f"""
gateway: {{reconnect_timeout: 2m, limits: {{queue_bytes: 64MiB}}}}
agents: {{lookup: {{remote: true}}}}
clients:
  ann:
    token_sha256: {sha256(ANN.encode()).hexdigest()}
    scopes: ["events.subscribe:*@*", "events.publish:*@*", "agents.send:lookup"]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("event-requests"), CONFIG) as rig:
        yield rig


def word(text: str, target: str = "", **more: str) -> Event:
    return new_event("custom", {"text": text}, custom_type="word", ephemeral=True, target=target, **more)


def text_of(event: Event) -> str:
    return str(event.custom.json["text"])


async def heard(client: Client) -> Event:
    async with asyncio.timeout(60):
        return await anext(client.addressed())


@contextlib.asynccontextmanager
async def answering(client: Client) -> AsyncIterator[None]:
    """It answers whatever is addressed to it, as long as the block lasts."""

    async def answer_all() -> None:
        async for question in client.addressed():
            await client.answer(question, word(f"{text_of(question)}!"))

    task = asyncio.create_task(answer_all())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def only_that_is_addressed(rig: House, client: Client) -> None:
    """Nothing came to `addressed` before this."""
    await rig.client.publish(word("that", client.client_id))
    assert text_of(await heard(client)) == "that"


async def no_call(call: Call) -> str:
    raise AssertionError(f"an event is no call: {call}")


# Who answers


async def test_an_agent_of_a_worker_answers_another_principal(rig: House) -> None:
    """The worker has the question by `addressed`; its answer is the client's that asked, and only the request's."""
    async with (
        rig.daemon.client("worker") as worker,
        worker.serve_agent("lookup", no_call),
        answering(worker),
        rig.daemon.client("asker", token=ANN) as asker,
    ):
        answer = await asker.request(word("where", "lookup"))
        again = await asker.request(word("and now", "lookup", correlation_id="mine"))
        await only_that_is_addressed(rig, asker)

    assert (text_of(answer), answer.target, answer.source) == ("where!", "asker", "local")
    assert (text_of(again), again.correlation_id) == ("and now!", "mine")


async def test_a_question_to_all_of_a_principal_is_not_its_own_answer(rig: House) -> None:
    """It comes to the client that asks, too, by `addressed`; another one answers."""
    async with rig.daemon.client("one") as one, rig.daemon.client("two") as two, answering(two):
        answer = await one.request(word("anybody", "local"))
        question = await heard(one)

    assert text_of(answer) == "anybody!"
    assert (text_of(question), question.correlation_id) == ("anybody", answer.correlation_id)


async def test_a_client_may_ask_itself(rig: House) -> None:
    """The question is not the answer, though it comes first."""
    async with rig.daemon.client("self") as client, answering(client):
        assert text_of(await client.request(word("me", "self"))) == "me!"


async def test_a_question_is_no_answer_though_it_has_the_correlation_id(rig: House) -> None:
    """A worker that waits for an answer is asked under the same id: that comes by `addressed`, as mail of the agent."""
    async with (
        rig.daemon.client("busy") as busy,
        busy.serve_agent("lookup", no_call),
        rig.daemon.client("peer") as peer,
        rig.daemon.client("asker", token=ANN) as asker,
    ):
        inner = asyncio.create_task(busy.request(word("inner", "peer", correlation_id="1")))
        outer = asyncio.create_task(asker.request(word("outer", "lookup", correlation_id="1")))
        mail = await heard(busy)
        await peer.answer(await heard(peer), word("to inner"))
        await busy.answer(mail, word(f"{text_of(mail)} {text_of(await inner)}"))

        assert text_of(await outer) == "outer to inner"


async def test_what_a_subscription_brings_is_in_both(rig: House) -> None:
    """The subscription has the answer, the request has it, `addressed` has not."""
    async with (
        rig.daemon.client("reader") as reader,
        reader.subscribe(event_filter(["custom"])) as events,
        rig.daemon.client("teller") as teller,
        answering(teller),
    ):
        answer = await reader.request(word("both", "teller"))
        async with asyncio.timeout(60):
            brought = await anext(events)
        await rig.client.publish(new_event("broadcast", {"content": "that"}))
        following = await heard(reader)

    assert brought == answer
    assert following.broadcast.content == "that"


# When it goes wrong


async def test_an_answer_that_is_late_is_addressed(rig: House) -> None:
    """DeadlineExceeded; the question tells by its correlation id what it is that comes then."""
    questions: list[Event] = []
    async with rig.daemon.client("late") as late, rig.daemon.client("hasty") as hasty:

        async def listen() -> None:
            async for question in late.addressed():
                questions.append(question)

        listening = asyncio.create_task(listen())
        asked: list[str] = []
        async with asyncio.timeout(60):
            while not questions:
                event = word(f"try {len(asked)}", "late")
                with pytest.raises(DeadlineExceeded):
                    await hasty.request(event, timeout=0.1)
                asked.append(event.correlation_id)
        listening.cancel()
        await late.answer(questions[0], word("at last"))
        answer = await heard(hasty)

    assert text_of(answer) == "at last"
    assert answer.correlation_id == questions[0].correlation_id
    assert answer.correlation_id in asked


async def test_nobody_of_that_name_refuses_the_one_request(rig: House) -> None:
    """Those that are published in the same frame are answered."""
    async with rig.daemon.client("there") as there, answering(there):
        void = rig.client.request(word("void", "nobody", correlation_id="c"))
        good = rig.client.request(word("good", "there"))
        refused, answer = await asyncio.gather(void, good, return_exceptions=True)
        again = await rig.client.request(word("again", "there", correlation_id="c"))

    assert isinstance(refused, NotFound)
    assert isinstance(answer, Event)
    assert (text_of(answer), text_of(again)) == ("good!", "again!")


async def test_a_correlation_id_waits_once_at_a_time(rig: House) -> None:
    """The second is a ValueError; what was cancelled leaves nothing behind."""
    async with rig.daemon.client("slow") as slow, rig.daemon.client("keen") as keen:
        first = asyncio.create_task(keen.request(word("first", "slow", correlation_id="same")))
        question = await heard(slow)
        with pytest.raises(ValueError, match="'same' waits"):
            await keen.request(word("second", "slow", correlation_id="same"))
        first.cancel()
        await asyncio.wait([first])
        third = asyncio.create_task(keen.request(word("third", "slow", correlation_id="same")))
        await slow.answer(await heard(slow), word("done"))

        assert text_of(await third) == "done"
        await slow.answer(question, word("too late"))
        assert text_of(await heard(keen)) == "too late"


async def test_what_cannot_be_answered_is_not_asked(rig: House) -> None:
    """Before anything is published."""
    with pytest.raises(ValueError, match="target"):
        await rig.client.request(word("to whom"))
    with pytest.raises(ValueError, match="'lane'"):
        await rig.client.request(word("from where", "asker", stream_id="lane"))
    with pytest.raises(ValueError, match="correlation"):
        await rig.client.answer(word("no question"), word("x"))


async def test_so_many_wait_and_no_more(rig: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awaited, "MAX_WAITING", 2)
    async with rig.daemon.client("patient") as patient:
        waiting = [asyncio.create_task(rig.client.request(word("x", "patient"))) for _ in range(2)]
        questions = [await heard(patient), await heard(patient)]
        with pytest.raises(LimitExceeded):
            await rig.client.request(word("one more", "patient"))
        for question in questions:
            await patient.answer(question, word("fine"))

        assert [text_of(await one) for one in waiting] == ["fine", "fine"]


# Connections


class Gate(SystemClock):
    """Its client does not come back before it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await self.open.wait()
        await super().sleep(min(seconds, 0.1))


async def test_an_answer_waits_while_the_connection_is_broken(rig: House) -> None:
    """It comes when the client has resumed."""
    gate = Gate()
    async with rig.daemon.client("cut", clock=gate) as cut, rig.daemon.client("steady") as steady:
        asking = asyncio.create_task(cut.request(word("still there", "steady"), timeout=60))
        question = await heard(steady)
        (await cut._conversation.link()).end()

        async def away() -> bool:
            return bool(await rig.events("disconnect", stream_id="cut"))

        await eventually(away)
        await steady.answer(question, word("yes"))
        assert not asking.done()
        gate.open.set()

        assert text_of(await asking) == "yes"


async def test_who_waits_is_told_that_the_client_is_over(rig: House) -> None:
    """ClientClosed when it is closed, ConnectionReplaced when another took its place; however long they would wait."""
    async with rig.daemon.client("mute") as mute, rig.daemon.client("leaver") as leaver:

        async def wait(timeout: float | None) -> Event:
            return await leaver.request(word("hello", "mute"), timeout=timeout)

        waiting = [asyncio.create_task(wait(timeout)) for timeout in (None, 600.0)]
        await heard(mute)
        await heard(mute)
        await leaver.close()
        ended = await asyncio.gather(*waiting, return_exceptions=True)

        async with rig.daemon.client("twin") as twin:
            asking = asyncio.create_task(twin.request(word("hello", "mute"), timeout=None))
            await heard(mute)
            async with rig.daemon.client("twin"):
                with pytest.raises(ConnectionReplaced):
                    await asking

    assert [type(one) for one in ended] == [ClientClosed, ClientClosed]


async def test_ten_thousand_are_under_way_at_a_time(rig: House) -> None:
    """All are asked before the first is answered; each gets its own answer."""
    count = 10_000
    async with rig.daemon.client("crowd") as crowd:
        asking = [asyncio.create_task(rig.client.request(word(str(n), "crowd"), timeout=60)) for n in range(count)]
        questions = [await heard(crowd) for _ in range(count)]
        answers = [word(text_of(one), one.stream_id, correlation_id=one.correlation_id) for one in questions]
        await crowd.publish(list(reversed(answers)))

        assert [text_of(one) for one in await asyncio.gather(*asking)] == [str(n) for n in range(count)]
