"""The whole text so far, put together for one subscription: right whatever the pieces, and bounded."""

import random

import pytest

from gatewayd.conversation.snapshots import FRAME_TEXTS, MAX_TEXT, MAX_TEXTS, Snapshots
from gatewayd.core.chunk import Chunk
from gatewayd.core.event import Event, EventType
from gatewayd.wire import data_of, with_wire


def delta(content: str, offset: int, execution: str = "x", kind: EventType = EventType.LLM_TEXT_DELTA) -> Event:
    data = {"content": content, "offset": offset}
    event = Event("e", kind, "s", "stream", 1.0, data, execution_id=execution, durable=False)
    return with_wire(event)


def snapshots_of(chunk: Chunk) -> list[str]:
    """As a reader sees them."""
    return [data_of(Event("", each.type, "", "", 0.0, wire=each.wire))["snapshot"] for each in chunk.events]


def unknown(_execution_id: str) -> str:
    return ""


def test_the_last_piece_of_each_text_in_a_frame_has_the_whole() -> None:
    snapshots = Snapshots(unknown)
    first = snapshots.fill(Chunk([delta("ab", 0), delta("X", 0, "y"), delta("cd", 2)]))
    second = snapshots.fill(Chunk([delta("e", 4), delta("YZ", 1, "y")]))

    assert snapshots_of(first) == ["", "X", "abcd"]
    assert snapshots_of(second) == ["abcde", "XYZ"]
    assert [data_of(each)["content"] for each in first.events] == ["ab", "X", "cd"]


def test_a_reader_that_comes_in_the_middle_gets_what_the_execution_has_put_out() -> None:
    snapshots = Snapshots(lambda execution_id: "Hello wor" if execution_id == "x" else "")

    assert snapshots_of(snapshots.fill(Chunk([delta("wo", 6)]))) == ["Hello wo"]
    assert snapshots_of(snapshots.fill(Chunk([delta("rld", 8)]))) == ["Hello world"]
    assert snapshots_of(snapshots.fill(Chunk([delta("rld", 8, "other")]))) == [""]
    of_a_node = delta("rld", 8, kind=EventType.CLIENT_OUTPUT_DELTA)
    assert snapshots_of(snapshots.fill(Chunk([of_a_node]))) == [""]


def test_after_a_gap_it_is_silent_until_a_text_begins_anew() -> None:
    snapshots = Snapshots(unknown)
    told = [delta("ab", 0), delta("f", 5), delta("g", 6), delta("new", 0), delta("er", 3)]

    assert [snapshots_of(snapshots.fill(Chunk([each]))) for each in told] == [["ab"], [""], [""], ["new"], ["newer"]]


def test_a_text_that_is_too_long_is_told_by_its_pieces_alone() -> None:
    snapshots = Snapshots(unknown)

    assert snapshots_of(snapshots.fill(Chunk([delta("ü" * (MAX_TEXT // 2), 0)]))) == ["ü" * (MAX_TEXT // 2)]
    assert snapshots_of(snapshots.fill(Chunk([delta("x", MAX_TEXT // 2)]))) == [""]


def test_what_it_holds_and_what_a_frame_brings_is_bounded() -> None:
    snapshots = Snapshots(unknown)
    text = "x" * (MAX_TEXT - 10)
    filled = snapshots.fill(Chunk([delta(text, 0, f"e{number}") for number in range(MAX_TEXTS + 10)]))
    brought = [snapshot for snapshot in snapshots_of(filled) if snapshot]

    assert sum(map(len, brought)) <= FRAME_TEXTS
    assert brought
    assert len(snapshots._texts) == MAX_TEXTS


def test_other_events_pass_as_they_are() -> None:
    snapshots = Snapshots(unknown)
    chunk = Chunk([with_wire(Event("e", EventType.BROADCAST, "s", "stream", 1.0, {"content": "hi"}, durable=False))])

    assert snapshots.fill(chunk) is chunk


@pytest.mark.parametrize("seed", range(30))
def test_however_the_pieces_are_cut_the_whole_is_the_text(seed: int) -> None:
    chance = random.Random(seed)
    texts = {name: "".join(chance.choices("abcü🙂 ", k=chance.randrange(1, 200))) for name in "abc"}
    done = dict.fromkeys(texts, 0)
    snapshots = Snapshots(unknown)
    while any(done[name] < len(text) for name, text in texts.items()):
        pieces = []
        for _ in range(chance.randrange(1, 8)):
            name = chance.choice(sorted(texts))
            piece = texts[name][done[name] : done[name] + chance.randrange(1, 9)]
            if piece:
                pieces.append(delta(piece, done[name], name))
                done[name] += len(piece)
        if not pieces:
            continue
        filled = snapshots.fill(Chunk(pieces))
        for place, event in enumerate(pieces):
            is_last = all(later.execution_id != event.execution_id for later in pieces[place + 1 :])
            whole = texts[event.execution_id][: done[event.execution_id]] if is_last else ""
            assert snapshots_of(filled)[place] == whole
