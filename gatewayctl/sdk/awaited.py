"""Requests that wait for an event that answers them: by correlation id, from wherever the answer comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from gateway.v1 import event_pb2

from gatewayctl.sdk.errors import DeadlineExceeded, GatewayError, LimitExceeded

__all__ = ["Awaited", "Question"]

MAX_WAITING = 100_000
"""Requests of one client that may wait at a time."""


class Question:
    """An event that is published for its answer. To the publisher it is what gets the outcome: only an error counts."""

    __slots__ = ("answer", "correlation_id", "id")

    def __init__(self, event: event_pb2.Event, answer: asyncio.Future[event_pb2.Event]) -> None:
        self.id = event.id
        self.correlation_id = event.correlation_id
        self.answer = answer

    def done(self) -> bool:
        """Whether nobody waits any more; then it need not be sent."""
        return self.answer.done()

    def add_done_callback(self, callback: Callable[[asyncio.Future[event_pb2.Event]], None]) -> None:
        """Have it called when nobody waits any more."""
        self.answer.add_done_callback(callback)

    def set_result(self, _accepted: object) -> None:
        """It was published; the answer is still to come."""

    def set_exception(self, error: BaseException) -> None:
        """There will be no answer."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def late(self) -> None:
        """Its time is over."""
        self.set_exception(DeadlineExceeded("there was no answer in time", code=4, reason="DEADLINE_EXCEEDED"))


class Awaited:
    """Of one client. The answer is the first event with that client as its target and the question's correlation id."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._waiting: dict[str, Question] = {}
        """By correlation id."""

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def begin(self, event: event_pb2.Event) -> Question:
        """Wait for the answer to an event, until it is there, or `forget`.

        ValueError if one with that correlation id waits already, LimitExceeded if 100,000 do.
        """
        name = event.correlation_id
        if name in self._waiting:
            raise ValueError(f"a request with the correlation id {name!r} waits for its answer already")
        if len(self._waiting) >= MAX_WAITING:
            raise LimitExceeded(f"{MAX_WAITING} requests wait for answers", code=8, reason="LIMIT_EXCEEDED")
        question = self._waiting[name] = Question(event, asyncio.get_running_loop().create_future())
        return question

    def forget(self, question: Question) -> None:
        """Whatever still comes for it is not awaited; a later question under its correlation id is left alone."""
        if self._waiting.get(question.correlation_id) is question:
            del self._waiting[question.correlation_id]
        if question.done() and not question.answer.cancelled():
            question.answer.exception()  # who was cancelled in the same moment did not ask for it

    def take(self, event: event_pb2.Event) -> bool:
        """Whether the event is an answer that somebody waits for, who has it then."""
        question = self._waiting.get(event.correlation_id) if self._waiting else None
        # Questions come here, too: to this client, to all of its principal's, to an agent that it serves.
        if question is None or event.target != self._client_id or event.id == question.id or question.done():
            return False
        del self._waiting[question.correlation_id]
        question.answer.set_result(event)
        return True

    def look(self, events: Iterable[event_pb2.Event]) -> None:
        """Take what is awaited of the events that subscriptions bring, which bring it nevertheless."""
        if self._waiting:
            for event in events:
                self.take(event)

    def fail(self, error: GatewayError) -> None:
        """No answer will come any more."""
        for question in self._waiting.values():
            question.set_exception(error)
        self._waiting.clear()
