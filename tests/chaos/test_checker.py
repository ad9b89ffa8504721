"""The judge notices each kind of broken promise, and nothing where none is broken: on records made by hand."""

from dataclasses import replace

import pytest
import rules
from cycles import cycle
from record import Reader, Record, content_of
from rules import Evidence, Heard, Logged, Story

from gatewayd.core.failpoints import POINTS


def message(seq, event_id):
    return Logged(seq, event_id, event_id.split("-")[0], "message", content_of(event_id))


def heard(number, key, text, *, chat="hold-ann", life=0, quote=""):
    return Heard(number, key, chat, text, quote, life)


def said(update, answer, *, channel="hold", peer="ann"):
    return {"update": update, "channel": channel, "chat": f"{channel}-{peer}", "peer": peer, "answer": answer}


@pytest.fixture
def evidence():
    """A short run in which everything was kept: three events, a send, two chat messages."""
    return Evidence(
        intended=["p0-0", "p0-1", "p1-0"],
        published={"p0-0": 2, "p0-1": 2},
        log=[
            message(1, "p0-0"),
            message(2, "p0-1"),
            Logged(3, "a", "ask", "message", "s1 hello"),
            Logged(4, "b", "echo", "execution_completed", execution="e1"),
        ],
        got=[(2, "p0-1", "e"), (3, "a", "e")],
        sends={"s1": {"text": "s1 hello", "answer": "s1 hello", "message": "m1", "execution": "e1",
                      "reply": ("e1", "s1  hello")}},
        said=[said("u1", "one two"), said("u2", "three")],
        stories={
            "m1": Story("m1", "answered", execution="e1", stages=("received", "ended")),
            "m2": Story("m2", "answered", platform_id="u1", channel="hold"),
            "m3": Story("m3", "dead_lettered", "ambiguous", platform_id="u2", channel="hold"),
        },
        heard=[heard(1, "m2/0", "one", quote="u1"), heard(2, "m2/1", "two")],
    )  # fmt: skip


REQUIRED = {"m1", "u1", "u2"}


def broken(evidence, required=REQUIRED):
    return list(rules.judge(evidence, required))


def test_a_run_that_kept_everything_is_well(evidence):
    """An event that was published and not acknowledged may be missing; a held message may be unheard."""
    assert broken(evidence) == []


def one(evidence, words):
    found = broken(evidence)
    assert [each for each in found if words in each], found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda log: log.pop(1), "p0-1 was acknowledged and is not in the log"),
        (lambda log: log.pop(1), "from seq 1 to 3"),
        (lambda log: log.append(replace(log[0], seq=5)), "p0-0 is 2 times in the log"),
        (lambda log: log.__setitem__(0, replace(log[0], content="other")), "other content"),
        (lambda log: log.append(message(5, "p0-9")), "nobody published it"),
        (lambda log: log.__setitem__(slice(0, 2), [message(1, "p0-1"), message(2, "p0-0")]), "stands behind number 1"),
        (lambda log: log.__setitem__(3, replace(log[3], epoch="f")), "more than one epoch"),
        (lambda log: log.append(Logged(5, "c", "ask", "message", "s1 hello")), "s1 was taken in 2 times"),
        (lambda log: log.append(replace(log[3], seq=5, id="c")), "completed 2 times"),
        (lambda log: log.pop(3), "completed 0 times"),
    ],
)
def test_a_log_that_lost_doubled_moved_or_changed_something(evidence, change, words):
    change(evidence.log)

    one(evidence, words)


def test_an_event_behind_the_cursor_of_its_acknowledgement(evidence):
    evidence.published["p0-1"] = 1

    one(evidence, "p0-1 was acknowledged with seq 1 and is at 2")


@pytest.mark.parametrize(
    ("got", "words"),
    [
        ([(1, "p0-0", "e"), (3, "a", "e")], "got seq 3 after 1"),
        ([(2, "p0-1", "e"), (2, "p0-1", "e")], "got seq 2 again"),
        ([(2, "p0-0", "e")], "got p0-0 as seq 2, where the log has p0-1"),
        ([(4, "b", "e"), (5, "x", "e")], "got seq 5, and the log ends at 4"),
    ],
)
def test_a_subscriber_that_missed_repeated_or_saw_what_is_gone(evidence, got, words):
    evidence.got = got

    one(evidence, words)


def test_a_gap_or_an_error_that_a_client_was_told(evidence):
    evidence.gaps.append("HISTORY_LOST")
    evidence.failures.append("publish: UNAVAILABLE")

    one(evidence, "told of a gap")
    one(evidence, "given an error")


@pytest.mark.parametrize(
    ("send", "words"),
    [
        ({"message": "m9"}, "which the ledger does not know"),
        ({"reply": ("e2", "s1 hello")}, "answered by e2"),
        ({"reply": ("e1", "good bye")}, "got the answer 'good bye'"),
    ],
)
def test_a_send_that_was_lost_or_answered_by_another(evidence, send, words):
    evidence.sends["s1"] |= send

    assert words in "".join(broken(evidence, REQUIRED | {"m9"}))


@pytest.mark.parametrize(
    ("story", "words"),
    [
        (Story("m1", "queued", execution="e1"), "not taken up again"),
        (Story("m1", "dead_lettered", "ambiguous", execution="e1"), "ended as dead_lettered"),
        (Story("m1", "answered", execution="e1", stages=("ended", "sent", "ended")), "not one end"),
        (Story("m2", "executed", platform_id="u1", channel="hold"), "not taken up again"),
        (Story("m2", "silent", platform_id="u1", channel="hold"), "ended as silent"),
        (Story("m3", "dead_lettered", "it was cut off 3 times", platform_id="u2", channel="hold"), "was given up"),
        (Story("m3", "answered", platform_id="u2", channel="hold"), "was answered ''"),
        (Story("m4", "answered", platform_id="u1", channel="hold"), "is 2 times in the ledger"),
    ],
)
def test_a_story_that_goes_on_or_ends_wrongly(evidence, story, words):
    evidence.stories[story.id] = story

    one(evidence, words)


def test_a_chat_message_that_came_to_nothing(evidence):
    del evidence.stories["m3"]

    one(evidence, "is 0 times in the ledger")


def test_a_message_that_nobody_was_to_answer_is_silent(evidence):
    evidence.said[0]["answer"] = ""
    evidence.stories["m2"] = Story("m2", "silent", platform_id="u1", channel="hold")

    one(evidence, "is silent, and 'one two' was heard")


def test_pieces_out_of_order_missing_or_from_nowhere(evidence):
    evidence.heard = [heard(1, "m2/1", "two"), heard(2, "m2/0", "one", quote="u1"), heard(3, "m8/0", "?", quote="u8")]
    one(evidence, "m2/0 came behind")
    one(evidence, "m8/0 answers nothing")

    evidence.heard = [heard(1, "m2/0", "one", quote="u1")]
    one(evidence, "was answered 'one' instead of 'one two'")


def test_answers_of_one_chat_in_the_order_of_its_questions(evidence):
    evidence.stories["m3"] = Story("m3", "answered", platform_id="u2", channel="hold")
    evidence.heard = [heard(1, "m3/0", "three", quote="u2"), *evidence.heard]

    one(evidence, "m2/0 came behind (1, 0)")


@pytest.mark.parametrize(
    ("channel", "life", "cuts", "is_well"),
    [
        ("hold", 1, 0, False),
        ("keyed", 1, 0, False),
        ("resend", 1, 0, True),
        ("resend", 0, 0, False),
        ("resend", 0, 1, True),
    ],
)
def test_a_piece_that_was_sent_twice(evidence, channel, life, cuts, is_well):
    """Only `resend` may, once for each crash, or for an answer that the platform lost."""
    evidence.said = [said("u1", "one two", channel=channel)]
    evidence.stories["m2"] = Story("m2", "answered", platform_id="u1", channel=channel)
    evidence.heard = [
        heard(1, "m2/0", "one", quote="u1", chat=f"{channel}-ann"),
        heard(2, "m2/0", "one", quote="u1", chat=f"{channel}-ann", life=life),
        heard(3, "m2/1", "two", chat=f"{channel}-ann", life=life),
    ]
    evidence.cuts = cuts

    assert any("sent twice" in each for each in broken(evidence, {"u1"})) is not is_well


def test_the_record_is_read_as_it_grows(tmp_path):
    record, reader = Record(tmp_path / "record"), Reader(tmp_path / "record")
    record.write("publish", ids=["p0-0"])
    assert [each["what"] for each in reader.new()] == ["publish"]

    with (tmp_path / "record").open("a") as file:
        file.write('{"what": "pub')
    assert reader.new() == []

    with (tmp_path / "record").open("a") as file:
        file.write('lished"}\n')
    assert [each["what"] for each in reader.new()] == ["published"]
    record.close()


def test_a_full_run_dies_at_every_point_and_at_random():
    cycles = [cycle(1, number) for number in range(1, 51)]

    assert {each.point for each in cycles} == {*POINTS, "any", ""}
    assert cycles == [cycle(1, number) for number in range(1, 51)]
    assert cycles != [cycle(2, number) for number in range(1, 51)]
