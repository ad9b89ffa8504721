"""What executions ask of whoever talks to them, for commands that stay on the line.

A question is an event. It is read beside the answer, on the same stream, and so also after a lost connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from gatewayctl.client import Answer, Client, Event, GatewayError, PermissionDenied, event_filter

__all__ = ["Dialogue", "Question", "Questions"]

ASKED = "client_input_requested"
MAX_KEPT = 256
"""Executions whose newest question is kept; those of other clients are among them, and the oldest goes first."""
_OVER = ("NOT_WAITING", "EXECUTION_FINISHED")


@dataclass(frozen=True, slots=True)
class Question:
    """What an execution waits for."""

    execution_id: str
    node_id: str
    """Empty for an agent without nodes."""
    prompt: str

    @classmethod
    def of(cls, event: Event) -> Question:
        return cls(event.execution_id, event.node_id, event.client_input_requested.prompt)

    async def give(self, client: Client, text: str) -> bool:
        """Answer it; False if it is not waited for any more. Other refusals are GatewayErrors."""
        try:
            await client.inject_input(self.execution_id, text, node_id=self.node_id)
        except GatewayError as error:
            if error.reason in _OVER:
                return False
            raise
        return True


class Questions:
    """Reads them as they come, from `open` to `close`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._newest: dict[str, Question] = {}
        self._news = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> bool:
        """Begin; what is asked from now on is not missed. False if this client may not see questions."""
        subscription = self._client.subscribe(event_filter([ASKED]), on_gap=lambda _gap: None)
        try:
            await subscription.started()
        except PermissionDenied:
            return False
        self._reading = asyncio.create_task(self._read(subscription), name="questions")
        return True

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def about(self, execution_id: str) -> Question:
        """Wait for a question of this execution; it stays until it is taken."""
        while (question := self._newest.get(execution_id)) is None:
            self._news.clear()
            await self._news.wait()
        return question

    def take(self, question: Question) -> None:
        """It was shown."""
        if self._newest.get(question.execution_id) is question:
            del self._newest[question.execution_id]

    async def _read(self, events: AsyncIterator[Event]) -> None:
        with contextlib.suppress(GatewayError):  # whoever waits for an answer hears of it there
            async for event in events:
                self._newest.pop(event.execution_id, None)
                self._newest[event.execution_id] = Question.of(event)
                if len(self._newest) > MAX_KEPT:
                    del self._newest[next(iter(self._newest))]
                self._news.set()


class Dialogue:
    """An answer and the questions on the way to it: new text, and questions, in the order in which they come."""

    def __init__(self, answer: Answer, questions: Questions) -> None:
        self._answer = answer
        self._questions = questions

    def __aiter__(self) -> Dialogue:
        return self

    async def __anext__(self) -> str | Question:
        text = asyncio.create_task(self._answer.__anext__())
        asked = asyncio.create_task(self._asked())
        try:
            await asyncio.wait((text, asked), return_when=asyncio.FIRST_COMPLETED)
            if text.done() or asked.exception() is not None:
                return await text  # text that is there came first; and what went wrong is told with it
            question = asked.result()
            self._questions.take(question)
            return question
        finally:
            await _put_away(text, asked)

    async def execution_id(self) -> str:
        """What answers, once it is accepted."""
        return await self._answer.accepted()

    def abandon(self) -> None:
        """Stop waiting for the answer."""
        self._answer.abandon()

    async def moot(self) -> None:
        """Wait until the question that was shown last is out of date: it has ended, or asks something else."""
        over, asked = asyncio.create_task(self._answer.over()), asyncio.create_task(self._asked())
        try:
            await asyncio.wait((over, asked), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _put_away(over, asked)

    async def _asked(self) -> Question:
        return await self._questions.about(await self._answer.accepted())


async def _put_away(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
