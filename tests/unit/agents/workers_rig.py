"""Workers as programs that a test drives: clients that come, go, answer and put down what they go on from."""

import asyncio
import json

from gatewayd.agents.base import AgentFailed, Turn
from gatewayd.agents.calls import OpenCall
from gatewayd.agents.keeping import Mark
from gatewayd.agents.workers import Workers
from gatewayd.core.clock import SeededRandomness
from gatewayd.core.errors import GatewayError
from gatewayd.core.ids import IdSource
from gatewayd.core.workers import (
    Call,
    CallReply,
    CancelCall,
    RegisterAgent,
    RegistrationEnded,
    SaveCheckpoint,
    WaitForInput,
    WorkerFrame,
)
from gatewayd.storage.records import HistoryEntry
from gatewayd.testing.fakes import FakeClock

TIMEOUT = 10.0


def workers_of(clock: FakeClock) -> Workers:
    workers = Workers(clock, IdSource(clock, SeededRandomness(1)))
    workers.reconnect_timeout = TIMEOUT
    return workers


def turn(session: str = "s", text: str = "hello", history: tuple[HistoryEntry, ...] = ()) -> Turn:
    return Turn(text=text, session_id=session, principal="p", history=history)


class Program:
    """A worker: one client, over as many connections as the test gives it."""

    def __init__(self, workers: Workers, name: str) -> None:
        self.workers = workers
        self.key = ("p", name)
        self.calls: dict[str, Call] = {}
        self.cancelled: list[str] = []
        self.ended: list[GatewayError] = []
        """Why its registration has ended, each time that it was told so."""
        self.tell = self._new_connection()

    def _new_connection(self):  # type: ignore[no-untyped-def]
        def tell(frame: WorkerFrame) -> None:
            assert self.tell is tell, "told over a connection that is gone"
            if isinstance(frame, CancelCall):
                self.cancelled.append(frame.call_id)
                del self.calls[frame.call_id]
            elif isinstance(frame, RegistrationEnded):
                self.ended.append(frame.error)
            else:
                self.calls[frame.call_id] = frame

        return tell

    def register(self, most: int = 0, *, history: bool = False, notify_end: bool = False) -> int:
        asked = RegisterAgent("r", "a", most, history, notify_end=notify_end)
        return self.workers.register(self.key, self.tell, asked)

    def say(self, call_id: str, content: str = "", **more: object) -> None:
        self.workers.reply(self.key, self.tell, CallReply("r", call_id, content, **more))  # type: ignore[arg-type]

    def keep(self, call_id: str, state: str, **more: object) -> asyncio.Future[bool]:
        """Put down a checkpoint."""
        frame = SaveCheckpoint("r", call_id, state, json.loads(state), **more)  # type: ignore[arg-type]
        return self.workers.keep(self.key, self.tell, frame)

    def wait(self, call_id: str, prompt: str, state: str, **more: object) -> asyncio.Future[bool]:
        """Put down that it waits for people."""
        frame = WaitForInput("r", call_id, prompt, state, json.loads(state), **more)  # type: ignore[arg-type]
        return self.workers.keep(self.key, self.tell, frame)

    def lose(self) -> None:
        self.workers.lost(self.key, self.tell)
        self.tell = self._new_connection()

    def restart(self) -> None:
        """A new process under the same client id."""
        self.lose()
        self.calls.clear()
        self.workers.began_anew(self.key)


async def ended(workers: Workers, call: OpenCall) -> str | GatewayError | AgentFailed:
    """What came of a call that has ended."""
    said = []
    try:
        while (piece := await workers.next_piece(call)) is not None:
            assert not isinstance(piece, Mark), "nobody puts anything down here"
            said.append(piece)
    except (GatewayError, AgentFailed) as error:
        return error
    return "".join(said)
