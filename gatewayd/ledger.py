"""The ledger: the story of one message, from the door to its one terminal state.

The steps are written by the store's intents, in the same unit as what they tell of; here they get their words.
"""

from gatewayd.core.work import ExecutionState, LedgerState, Origin
from gatewayd.storage.records import Step

TOLD_LIMIT = "Sorry, I cannot take on another conversation right now. Please try again later."


def accepted(origin: Origin, door: str, rule: str, agent: str, now: float) -> tuple[Step, ...]:
    """Taken in, and waiting for its agent: one commit, hence one time."""
    how = rule or "named by the sender"
    return (
        Step("received", now, f"{origin.value} {door}"),
        Step("journaled", now),
        Step("routed", now, f"{how} → {agent}"),
        Step("queued", now),
    )


def turned_away(origin: Origin, door: str, name: str, why: str, now: float) -> tuple[Step, ...]:
    """Taken in, and nobody is asked."""
    return (Step("received", now, f"{origin.value} {door}"), Step("journaled", now), Step(name, now, why))


def story_end(state: ExecutionState, *, has_text: bool, to_channel: bool) -> tuple[LedgerState, LedgerState | None]:
    """The ledger state when an execution has ended, and the outcome that its last sent piece will give."""
    if state is ExecutionState.FAILED:
        return (
            (LedgerState.EXECUTED, LedgerState.FAILED_AND_TOLD) if to_channel else (LedgerState.FAILED_AND_TOLD, None)
        )
    if state is ExecutionState.CANCELLED or not has_text:
        return LedgerState.SILENT, None
    return (LedgerState.EXECUTED, LedgerState.ANSWERED) if to_channel else (LedgerState.ANSWERED, None)
