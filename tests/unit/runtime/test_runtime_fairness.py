"""Who runs next."""

from types import SimpleNamespace

from gatewayd.runtime.lanes import Lanes


def test_F65_one_user_with_much_to_ask_does_not_hold_up_another() -> None:
    """While models are slow or limited: turns go round the sessions, and one session has one turn at a time."""
    started: list[SimpleNamespace] = []
    lanes = Lanes(started.append, concurrent=2)  # type: ignore[arg-type]
    for number in range(50):
        lanes.submit(SimpleNamespace(execution=SimpleNamespace(session_id="greedy"), number=number))  # type: ignore[arg-type]
    for name in ("ann", "bob"):
        lanes.submit(SimpleNamespace(execution=SimpleNamespace(session_id=name), number=0))  # type: ignore[arg-type]

    assert [live.execution.session_id for live in started] == ["greedy", "ann"]
    lanes.finished(started[0])  # type: ignore[arg-type]
    assert [live.execution.session_id for live in started] == ["greedy", "ann", "bob"]
    for live in list(started[1:]):
        lanes.finished(live)  # type: ignore[arg-type]
    assert [(live.execution.session_id, live.number) for live in started[3:]] == [("greedy", 1)]
