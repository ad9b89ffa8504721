"""The events of the desk as sentences, each with its time: who does what on which ticket."""

import asyncio
import json
import shutil
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from running import DEADLINE, Failed

from desk.triage import OTHER
from gatewayctl.client import Client, Event, event_filter
from gatewayctl.events import event_values

TYPES = (
    "webhook_received",
    "execution_started",
    "execution_interrupted",
    "execution_resumed",
    "execution_completed",
    "execution_failed",
    "client_input_requested",
    "node_loop_completed",
    "message",
    "error",
)
"""What the story is made of; all of it is durable, so no crash makes a gap."""
Said = tuple[str, str]
"""Who, and what."""


@dataclass(frozen=True)
class Question:
    """What an execution asks of people."""

    execution_id: str
    node_id: str
    prompt: str


class Story:
    """Reads along, tells, and knows how far each ticket is."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.asked: dict[int, Question] = {}
        """What waits for people, by ticket."""
        self.answers: dict[int, list[str]] = {}
        self.failures: dict[int, str] = {}
        self._show = show
        self.began = time.time()
        """Seconds since the epoch; times are told from here."""
        self._tickets: dict[str, int] = {}
        """By execution."""
        self._broken: Exception | None = None
        self._changed = asyncio.Condition()

    def say(self, who: str, what: str, ticket: int = 0, at: float | None = None) -> None:
        """One paragraph for the reader."""
        seconds = max(0.0, (time.time() if at is None else at) - self.began)
        head = f"{seconds:6.2f} s  {f'ticket {ticket}' if ticket else '':<8}  {who:<8}  "
        width = max(len(head) + 40, min(shutil.get_terminal_size().columns, 120))
        self._show(textwrap.fill(what, width, initial_indent=head, subsequent_indent=" " * len(head)))

    async def follow(self, client: Client, started: asyncio.Event) -> None:
        """Tell what happens, until this is cancelled. `started` is set once nothing can be missed."""
        try:
            async with client.subscribe(event_filter(TYPES)) as events:
                started.set()
                async for event in events:
                    await self.take(event)
        except Exception as error:
            async with self._changed:  # nobody shall wait for what will not be read
                self._broken = error
                self._changed.notify_all()
            raise

    async def take(self, event: Event) -> None:
        """Tell one event."""
        values = event_values(event)
        kind, data, execution = values["type"], values["data"], event.execution_id
        if kind == "execution_started" and execution not in self._tickets:
            self._tickets[execution] = ticket_in(data["input"]["text"])
            return
        ticket = data["payload"]["ticket"] if kind == "webhook_received" else self._tickets.get(execution, 0)
        async with self._changed:
            if kind == "client_input_requested":
                self.asked[ticket] = Question(execution, event.node_id, data["prompt"])
            elif kind == "execution_resumed":
                self.asked.pop(ticket, None)
            elif kind == "execution_completed":
                self.answers.setdefault(ticket, []).append(data["output"]["text"])
            elif kind == "execution_failed":
                self.failures[ticket] = data["error"]
            self._changed.notify_all()
        if told := sentence(kind, event.node_id, data):
            self.say(*told, ticket=ticket, at=event.time)

    async def question(self, ticket: int) -> Question:
        """What it asks, once it waits for people."""
        await self._until(ticket, lambda: ticket in self.asked, "asked nobody")
        return self.asked[ticket]

    async def answer(self, ticket: int) -> str:
        """Its answer, once there is one."""
        await self._until(ticket, lambda: ticket in self.answers, "was not answered")
        return self.answers[ticket][0]

    async def _until(self, ticket: int, there: Callable[[], bool], otherwise: str) -> None:
        try:
            async with asyncio.timeout(DEADLINE), self._changed:
                await self._changed.wait_for(lambda: there() or ticket in self.failures or self._broken is not None)
        except TimeoutError:
            raise Failed(f"ticket {ticket} {otherwise} within {DEADLINE:g} s") from None
        if self._broken is not None:
            raise Failed(f"the story broke off: {self._broken!r}") from self._broken
        if not there():
            raise Failed(f"ticket {ticket} failed: {self.failures[ticket]}")


def ticket_in(text: str) -> int:
    """The number of the ticket that an execution was started with."""
    number: int = json.loads(text)["event"]["data"]["payload"]["ticket"]
    return number


def sentence(kind: str, node: str, data: dict[str, Any]) -> Said | None:
    """Who did what, in plain words; None for what would only repeat it."""
    match kind:
        case "webhook_received":
            given = data["payload"]
            said = f"{given.get('customer')} writes: “{given.get('text')}”"
            return "shop", f"{said} The signature is good, it is on disk: 202."
        case "message":
            return _message(node, data)
        case "client_input_requested":
            return node, f"asks a person: “{data['prompt'].strip()}” Until somebody answers nothing of it is in memory."
        case "execution_resumed":
            return node, "has got its answer, and goes on."
        case "node_loop_completed" if node == "refund":
            return node, "has paid, and has written it into the books."
        case "execution_completed":
            return "writer", f"“{data['output']['text']}”"
        case "execution_failed":
            return "desk", f"could not finish: {data['error']}"
        case "execution_interrupted":
            return "desk", "was cut off, and takes it up again."
        case "error":
            return node, f"{data['reason']}: {data['message']}"
    return None


def _message(node: str, data: dict[str, Any]) -> Said | None:
    parts, receiver = data["parts"], data["parts"]["receiver"]
    if parts["stage"] != "send":
        return None  # that it arrived is no news in a story
    content = json.loads(data["content"]) if data["content"] else {}
    match parts["kind"], parts["data_type"]:
        case "direct", "Ticket":
            subjects = " and ".join(content["subjects"]).replace(OTHER, "something else")
            return node, f"thinks that it is about {subjects}, and has the board ask around."
        case "publish", "Ticket":
            return node, f"publishes it on `{receiver.partition('/')[0]}`."
        case "publish", "Finding":
            return node, f"finds: “{content['says']}”"
        case "respond", _:
            found = len(content["found"])
            return node, f"hands over {found} finding{'s' if found > 1 else ''}." if found else "has heard nothing."
    return None
