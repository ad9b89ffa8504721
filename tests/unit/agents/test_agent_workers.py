"""Workers and their calls, against a model that knows only the rules: whatever is lost, every call comes to one end."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from workers_rig import TIMEOUT, Program, ended, turn, workers_of

from gatewayd.agents.base import AgentFailed, Turn
from gatewayd.agents.calls import MAX_HISTORY, OpenCall
from gatewayd.agents.remote import MAX_TEXT, RemoteAgent
from gatewayd.agents.workers import Workers
from gatewayd.core.errors import NotFound, Unavailable
from gatewayd.core.workers import Call, CallReply, RegisterAgent, WorkerFrame
from gatewayd.storage.records import HistoryEntry
from gatewayd.testing.agent_contract import AgentContract, AgentSubject
from gatewayd.testing.fakes import FakeClock, FakeContext, collect, until


@dataclass
class Subject(AgentSubject):
    workers: Workers = field(default=None)  # type: ignore[assignment]


class TestARemoteAgentKeepsTheContract(AgentContract):
    @pytest.fixture
    def subject(self) -> AgentSubject:
        clock = FakeClock()
        workers = workers_of(clock)
        program = Program(workers, "w")
        program.register(1000)

        def agent(said: str, **end: object) -> RemoteAgent:
            def tell(frame: WorkerFrame) -> None:
                if isinstance(frame, Call):
                    asyncio.get_running_loop().call_soon(program.say, frame.call_id, said, None)
                    if end:
                        reply = CallReply("r", frame.call_id, "", **end)  # type: ignore[arg-type]
                        asyncio.get_running_loop().call_soon(workers.reply, program.key, tell, reply)

            program.tell = tell
            program.register(1000)
            return RemoteAgent("a", workers, timeout=60.0)

        def say(call_id: str, content: str, _: None) -> None:
            workers.reply(program.key, program.tell, CallReply("r", call_id, content))

        program.say = say  # type: ignore[method-assign,assignment]
        return Subject(
            clock=clock,
            answering=lambda: (agent("an answer", final=True), "an answer"),
            failing=lambda: agent("", error="I cannot do that."),
            hanging=lambda: agent("wait"),
            idle=lambda: not workers._calls,
            workers=workers,
        )


async def test_work_without_a_session_is_shared_by_all_workers() -> None:
    """What entry points start has none: it must not all go to the one that is first for no session."""
    workers = workers_of(FakeClock())
    programs = [Program(workers, name) for name in ("w1", "w2", "w3")]
    for program in programs:
        program.register(1000)

    for number in range(60):
        workers.ask("a", turn(session=""), f"x{number}", 60.0)

    assert min(len(program.calls) for program in programs) > 5


async def test_nobody_is_waited_for_longer_than_the_timeout() -> None:
    clock = FakeClock()
    workers = workers_of(clock)
    agent = RemoteAgent("a", workers, timeout=60.0)

    asking = asyncio.create_task(collect(agent.run(turn(), FakeContext(clock))))
    await clock.advance(TIMEOUT - 1)
    assert not asking.done()
    await clock.advance(2)

    with pytest.raises(Unavailable, match="not available right now"):
        await asking
    assert not workers._pools


async def test_the_time_without_a_worker_begins_when_the_last_one_went() -> None:
    clock = FakeClock()
    workers = workers_of(clock)
    full = Program(workers, "full")
    full.register(1)
    first, second = (workers.ask("a", turn(str(n)), "x", 60.0) for n in range(2))
    asking = asyncio.create_task(ended(workers, second))
    await clock.advance(TIMEOUT * 2)
    assert not asking.done(), "somebody was there, with no room"

    full.lose()
    await clock.advance(TIMEOUT - 1)
    assert not asking.done()
    await clock.advance(2)

    assert isinstance(await asking, Unavailable)
    assert isinstance(await ended(workers, first), Unavailable)
    assert (workers._pools, workers._clients, workers._calls) == ({}, {}, {})


async def test_a_session_stays_with_its_worker_and_one_that_comes_takes_its_share_only() -> None:
    workers = workers_of(FakeClock())
    programs = {name: Program(workers, name) for name in "abc"}

    def place(session: str) -> str:
        call = workers.ask("a", turn(session), "x", 60.0)
        (name,) = (name for name, program in programs.items() if call.id in program.calls)
        programs[name].say(call.id, final=True)
        programs[name].calls.clear()
        return name

    for name in "ab":
        programs[name].register()
    sessions = [f"s{number}" for number in range(300)]
    before = {session: place(session) for session in sessions}
    assert before == {session: place(session) for session in sessions}
    assert 100 < list(before.values()).count("a") < 200

    programs["c"].register()
    after = {session: place(session) for session in sessions}
    moved = [session for session in sessions if before[session] != after[session]]
    assert {after[session] for session in moved} == {"c"}
    assert 60 < len(moved) < 140


async def test_history_is_sent_where_it_is_wanted_and_its_oldest_part_is_left_out() -> None:
    workers = workers_of(FakeClock())
    program = Program(workers, "w")
    program.register(history=True)
    history = tuple(HistoryEntry("user", str(number) * (MAX_HISTORY // 4), 0.0) for number in range(6))

    call = workers.ask("a", turn(history=history), "x", 60.0)

    assert [said.content[0] for said in program.calls[call.id].history] == ["2", "3", "4", "5"]
    program.register(history=False)
    other = workers.ask("a", turn("t", history=history), "x", 60.0)
    assert not program.calls[other.id].history


async def test_a_text_that_fits_into_no_call_is_refused() -> None:
    clock = FakeClock()
    agent = RemoteAgent("a", workers_of(clock), timeout=60.0)

    with pytest.raises(AgentFailed, match="too long"):
        await collect(agent.run(turn(text="x" * (MAX_TEXT + 1)), FakeContext(clock)))


async def test_an_agent_that_is_cancelled_before_its_worker_answers_calls_it_off() -> None:
    clock = FakeClock()
    workers = workers_of(clock)
    program = Program(workers, "w")
    program.register()
    agent = RemoteAgent("a", workers, timeout=60.0)
    asking = asyncio.create_task(collect(agent.run(turn(), FakeContext(clock))))
    await until(lambda: bool(program.calls))
    (call_id,) = program.calls

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    assert program.cancelled == [call_id]
    with pytest.raises(NotFound):
        program.say(call_id, "late")


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_is_lost_every_call_comes_to_one_end_and_no_text_is_lost_or_doubled(seed: int) -> None:
    """Random losses, returns, restarts, goodbyes, answers and cancellations, against what the rules allow."""
    chance = random.Random(seed)
    clock = FakeClock()
    workers = workers_of(clock)
    programs = [Program(workers, name) for name in "xyz"]
    there: set[Program] = set()
    asked: dict[str, tuple[OpenCall, asyncio.Task[object]]] = {}
    said: dict[str, str] = {}
    finished: set[str] = set()
    called_off: set[str] = set()

    def ask() -> None:
        call = workers.ask("a", turn(f"s{chance.randrange(5)}"), "x", 1000.0)
        asked[call.id] = (call, asyncio.create_task(ended(workers, call)))
        said[call.id] = ""

    def answer(program: Program) -> None:
        if not program.calls:
            return
        call_id = chance.choice(sorted(program.calls))
        end = chance.random() < 0.4
        piece = chance.choice(["a", "bc", ""])
        try:
            program.say(call_id, piece, offset=len(said[call_id]), final=end)
        except NotFound:  # it was given up, or called off, while this worker was away
            del program.calls[call_id]
            assert call_id in called_off or asked[call_id][0].error is not None
            return
        said[call_id] += piece
        if end:
            finished.add(call_id)
            del program.calls[call_id]

    for _ in range(200):
        program = chance.choice(programs)
        step = chance.random()
        if step < 0.25:
            ask()
        elif program not in there:
            if step < 0.4:
                program.restart()
            there.add(program)
            before = dict(program.calls)
            program.calls.clear()
            count = program.register(chance.randrange(1, 4))
            again = {call_id: call for call_id, call in program.calls.items() if call.redelivered}
            assert len(again) == count
            assert set(again) <= set(before)
            assert all(call.offset == len(said[call_id]) for call_id, call in again.items())
        elif step < 0.7:
            answer(program)
        elif step < 0.78:
            program.lose()
            there.discard(program)
        elif step < 0.82:
            workers.left(program.key, program.tell)
            program.restart()
            there.discard(program)
        elif step < 0.87 and asked:
            call_id = chance.choice(sorted(asked))
            called_off.add(call_id)
            workers.end(asked[call_id][0], "cancelled")
        elif step < 0.92:
            await clock.advance(chance.uniform(0, TIMEOUT))
    for program in programs:
        workers.left(program.key, program.tell)
    await clock.advance(TIMEOUT * 3)

    outcomes: Counter[str] = Counter()
    for call_id, (_, task) in asked.items():
        if call_id in finished:
            outcomes["answered"] += 1
            assert await task == said[call_id]
        elif call_id in called_off:  # nobody reads it in the daemon any more
            task.cancel()
        else:
            outcomes["failed"] += 1
            assert isinstance(await task, Unavailable)
    assert outcomes["answered"] > 3
    assert (workers._pools, workers._clients, workers._calls) == ({}, {}, {})
    await workers.close()


async def test_a_message_of_another_agent_goes_to_another_worker_or_fails_at_once_after_a_goodbye() -> None:
    clock = FakeClock()
    workers = workers_of(clock)
    first, second = Program(workers, "first"), Program(workers, "second")
    first.register()
    second.register()
    asked = Turn(text="hello", session_id="s", principal="p", sender="other/default")
    call = workers.ask("a", asked, "x", 60.0)
    holder, other = (first, second) if first.calls else (second, first)

    workers.left(holder.key, holder.tell)
    assert list(other.calls) == [call.id]
    assert other.calls[call.id].sender == "other/default"
    workers.left(other.key, other.tell)

    with pytest.raises(Unavailable):
        await workers.next_piece(call)


async def test_an_agent_hears_what_its_workers_name_while_they_take_calls() -> None:
    workers = workers_of(FakeClock())
    told: list[set[str]] = []
    workers.on_topics = lambda agent: told.append(workers.topics(agent))
    first, second = Program(workers, "first"), Program(workers, "second")

    workers.register(first.key, first.tell, RegisterAgent("r", "a", topics=("news", "orders.*")))
    workers.register(second.key, second.tell, RegisterAgent("r", "a", topics=("news",)))
    workers.unregister(first.key, "a")
    workers.left(second.key, second.tell)

    assert told[:2] == [{"news", "orders.*"}] * 2
    assert {"news"} in told
    assert told[-1] == set()
    assert workers.topics("nobody") == set()
