"""One question and its answer: a send whose caller waits for nothing but the final reply."""

from collections.abc import Callable

from gatewayd.conversation.sends import Sends
from gatewayd.core.checkpoint import Question
from gatewayd.core.errors import NotFound
from gatewayd.core.frames import Reply, Send
from gatewayd.core.value import value
from gatewayd.core.work import Execution
from gatewayd.routing.router import Caller
from gatewayd.storage.base import Store


@value(frozen=True, slots=True)
class Answer:
    """What an agent answered; its execution has SUCCEEDED, or rests and asks something."""

    execution: Execution
    """As it was accepted; its state and output are not brought up to date."""
    content: str
    question: Question | None = None


async def ask(
    sends: Sends,
    store: Store,
    send: Send,
    caller: Caller,
    *,
    accepted: Callable[[str], None],
    until_asked: bool = False,
) -> Answer:
    """Have the message accepted and wait for the answer, at most `send.timeout` seconds (0: as long as the agent may).

    `accepted` is told of the execution once there is one. With `until_asked` what it asks its client ends the waiting.
    Raises what the reply would have told: `ExecutionFailed`, or `DeadlineExceeded` while the execution goes on. A
    caller that is cut off cancels nothing.
    """
    submitted, waiting = await sends.submit(send, caller)
    accepted(submitted.accepted.execution_id)
    live = submitted.live
    if until_asked and live is not None and (question := await sends.question(waiting, live)) is not None:
        return Answer(live.execution, "", question)
    reply = await sends.reply(waiting, _ignore, live)
    if reply.error is not None:
        raise reply.error
    if live is not None:
        return Answer(live.execution, reply.content)
    execution = await store.get_execution(submitted.accepted.execution_id)
    if execution is None:
        raise NotFound(f"execution {submitted.accepted.execution_id} is no longer kept")
    return Answer(execution, reply.content)


def _ignore(_piece: Reply) -> None:
    """Partial replies were not asked for."""
