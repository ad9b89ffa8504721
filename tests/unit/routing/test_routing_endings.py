"""How an end is written: what the user reads, what is remembered, which terminal state the story gets."""

from dataclasses import replace
from pathlib import Path

import pytest

from gatewayd.core.message import ReplyKind, ReplyTo
from gatewayd.core.work import Execution, ExecutionState, LedgerState, Origin
from gatewayd.ledger import accepted, story_end, turned_away
from gatewayd.routing.endings import told, turn
from gatewayd.runtime.live import LiveExecution, Outcome
from tests.rigs.middle import Middle

CHAT = ReplyTo(ReplyKind.CHANNEL, "chat", "room", "thread", quote="p1")
EXECUTION = Execution("x1", "m1", "s1", "a", "p", Origin.CHAT, "question", CHAT, "a", "x1", 1.0)
DONE = Outcome(ExecutionState.SUCCEEDED, output="answer")


@pytest.mark.parametrize(
    ("state", "has_text", "to_channel", "now", "then"),
    [
        (ExecutionState.SUCCEEDED, True, True, LedgerState.EXECUTED, LedgerState.ANSWERED),
        (ExecutionState.SUCCEEDED, True, False, LedgerState.ANSWERED, None),
        (ExecutionState.SUCCEEDED, False, False, LedgerState.SILENT, None),
        (ExecutionState.FAILED, False, True, LedgerState.EXECUTED, LedgerState.FAILED_AND_TOLD),
        (ExecutionState.FAILED, True, False, LedgerState.FAILED_AND_TOLD, None),
        (ExecutionState.CANCELLED, True, False, LedgerState.SILENT, None),
    ],
)
def test_every_end_gives_its_story_one_terminal_state(
    state: ExecutionState, has_text: bool, to_channel: bool, now: LedgerState, then: LedgerState | None
) -> None:
    """At once, or with the last piece that is sent (P7.8)."""
    assert story_end(state, has_text=has_text, to_channel=to_channel) == (now, then)
    assert (then or now).terminal


def test_what_the_user_of_a_chat_reads() -> None:
    """The answer; an honest sentence behind what there is of one; nothing when somebody interrupted."""
    failed = Outcome(ExecutionState.FAILED, output="half", error="It broke.")

    assert told(DONE) == "answer"
    assert told(failed) == "half\n\nSorry, this did not work: It broke."
    assert told(replace(failed, output="")) == "Sorry, this did not work: It broke."
    assert told(Outcome(ExecutionState.CANCELLED, output="half")) == ""


def test_a_turn_remembers_every_question_and_the_answer_as_far_as_it_came() -> None:
    """An execution without a word leaves the question alone."""
    other = replace(EXECUTION, id="x2", text="and this?")

    assert [(each.role, each.content) for each in turn(EXECUTION, [other], DONE, 2.0)] == [
        ("user", "question"),
        ("user", "and this?"),
        ("assistant", "answer"),
    ]
    assert len(turn(EXECUTION, [], Outcome(ExecutionState.FAILED, error="x"), 2.0)) == 1


async def test_the_pieces_of_an_answer_have_the_same_keys_at_every_try(tmp_path: Path) -> None:
    """Deterministic keys in order of the text; only the first quotes; a caller over gRPC has none (P7.2)."""
    endings = Middle(tmp_path).router._endings
    text = "twenty characters is the limit of this channel"

    rows = endings.rows(CHAT, "m1", "x1", text, 1.0)

    assert [row.key for row in rows] == [f"m1/{number}" for number in range(len(rows))]
    assert len(rows) == 3
    assert all(len(row.text) <= 20 for row in rows)
    assert [row.quote for row in rows] == ["p1", "", ""]
    assert [row.id for row in rows] == sorted(row.id for row in rows)
    assert {(row.channel, row.chat, row.thread) for row in rows} == {("chat", "room", "thread")}
    assert endings.rows(ReplyTo(ReplyKind.CALLER), "m1", "x1", text, 1.0) == ()
    assert endings.rows(CHAT, "m1", "x1", " \n", 1.0) == ()


async def test_a_finish_is_one_unit_with_everything_in_it(tmp_path: Path) -> None:
    """State, history, pieces, story and event go together; without `persist` the history is left out."""
    middle = Middle(tmp_path)
    live = LiveExecution(EXECUTION)
    unit = middle.router._endings.finish(middle.config, live, DONE, 2.0)
    middle.use({"gateway": {"session_config": {"persist": False}}})
    forgetful = middle.router._endings.finish(middle.config, live, DONE, 2.0)

    assert (unit.execution_id, unit.state, unit.output) == ("x1", ExecutionState.SUCCEEDED, "answer")
    assert [row.text for row in unit.outbox] == ["answer"]
    assert [change.outcome for change in unit.ledger] == [LedgerState.ANSWERED]
    assert [event.type.label for event in unit.events] == ["execution_completed"]
    assert len(unit.turn) == 2
    assert forgetful.turn == ()
    assert unit.history_max_messages == middle.config.gateway.session_config.max_messages


def test_stories_begin_with_how_they_came_in() -> None:
    """received → journaled → routed → queued, or the reason why nobody is asked."""
    steps = accepted(Origin.CHAT, "chat", "channels.chat.routing.dm", "a", 1.0)

    assert [step.name for step in steps] == ["received", "journaled", "routed", "queued"]
    assert "channels.chat.routing.dm" in steps[2].detail
    assert [step.name for step in turned_away(Origin.CHAT, "chat", "silent", "why", 1.0)] == [
        "received",
        "journaled",
        "silent",
    ]
