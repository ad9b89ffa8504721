"""Chat messages that answer what an execution of their session has asked.

An execution that waits for the client has said so in the chat. The next message of the same session is its input: it
is journaled and given as one unit, and its story ends with the execution. Whoever has asked last is answered first.
"""

from collections.abc import Callable, Sequence

from gatewayd.core.checkpoint import MAX_INPUT, Question
from gatewayd.core.clock import Clock
from gatewayd.core.errors import ExecutionFinished, NotFound, NotWaiting
from gatewayd.core.message import InboundMessage
from gatewayd.core.work import Execution
from gatewayd.routing.commits import Commits
from gatewayd.routing.endings import Endings
from gatewayd.routing.intake import Intake, chat_reply, chat_scope
from gatewayd.runtime.runtime import AgentRuntime
from gatewayd.sessions import Opened
from gatewayd.storage.base import Store
from gatewayd.storage.records import Acceptance, Accepted, OutboxRow

TOLD_STOPPED = "Stopped."
TOLD_TOO_LONG = f"Sorry, that is too long for an answer: at most {MAX_INPUT // 1024} KiB."


class Answers:
    """`offer` hands rows to their outbox after their commit."""

    def __init__(
        self,
        *,
        store: Store,
        runtime: AgentRuntime,
        commits: Commits,
        intake: Intake,
        endings: Endings,
        offer: Callable[[Sequence[OutboxRow]], None],
        clock: Clock,
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._commits = commits
        self._intake = intake
        self._endings = endings
        self._offer = offer
        self._clock = clock

    async def take(self, message: InboundMessage, opened: Opened) -> bool:
        """Take it in if it is an answer, or `/stop`; False for a message that is neither: it begins a turn."""
        session_id = opened.record.id
        if not self._runtime.suspending.rests_in(session_id):
            return False
        question = await self._store.open_question(session_id)
        if question is None:
            return False
        if message.command:
            if not _is_stop(message.text) or await self._is_known(message):
                return False
            await self._commits.carry(self._stop(message, opened), name="stop")
            return True
        if len(message.text.encode(errors="replace")) > MAX_INPUT:
            await self._tell(message, opened, TOLD_TOO_LONG, ok=False)
            return True
        try:
            await self._commits.carry(self._give(message, opened, question), name="answer")
        except (NotWaiting, NotFound, ExecutionFinished):
            return False  # it was answered by other means, or has ended, in this moment
        return True

    async def _give(self, message: InboundMessage, opened: Opened, question: Question) -> None:
        inbound = self._intake.from_chat(message, opened.record.principal)

        async def write(stored: Execution) -> Accepted:
            return await self._store.accept(self._intake.answer(message, inbound, opened, stored, question))

        release = self._runtime.lanes.reserve()
        try:
            await self._runtime.suspending.answer(question.execution_id, write)
        finally:
            release()

    async def _is_known(self, message: InboundMessage) -> bool:
        """Whether it was taken in before: what has been asked since then is not what it meant."""
        return bool(message.platform_id) and await self._store.knows(chat_scope(message), message.platform_id)

    async def _stop(self, message: InboundMessage, opened: Opened) -> None:
        """Cancel everything in the session that waits for an answer."""
        tried: set[str] = set()  # an end that cannot be written is not tried for ever
        while (question := await self._store.open_question(opened.record.id)) is not None:
            if question.execution_id in tried:
                break
            tried.add(question.execution_id)
            try:
                await self._runtime.cancel(question.execution_id, f"stopped by {opened.record.principal}")
            except (ExecutionFinished, NotFound):
                continue
        await self._tell(message, opened, TOLD_STOPPED, ok=True)

    async def _tell(self, message: InboundMessage, opened: Opened, text: str, *, ok: bool) -> None:
        inbound = self._intake.from_chat(message, opened.record.principal)
        rows = self._endings.rows(chat_reply(message), inbound.message_id, "", text, self._clock.now())
        work: Acceptance = self._intake.told(message, inbound, opened, rows, ok=ok)
        await self._commits.accept(work, lambda: self._offer(rows))


def _is_stop(text: str) -> bool:
    """`/stop`, also as `/stop@bot`."""
    words = text.split(maxsplit=1)
    return bool(words) and words[0].partition("@")[0].lower() == "/stop"
