"""The store's conformance suite: every backend passes it.

A backend's test subclasses `StoreContract` and supplies an async fixture `harness` (`store_cases.samples.Harness`):
an open store in a fresh place, which it can reopen. The tests' names are the promises.
"""

from gatewayd.testing.store_cases.agent_states import AgentStateCases
from gatewayd.testing.store_cases.checkpoints import CheckpointCases
from gatewayd.testing.store_cases.entry_points import EntryPointCases
from gatewayd.testing.store_cases.events import EventCases
from gatewayd.testing.store_cases.outbox import OutboxCases
from gatewayd.testing.store_cases.push import PushCases
from gatewayd.testing.store_cases.questions import QuestionCases
from gatewayd.testing.store_cases.state import StateCases
from gatewayd.testing.store_cases.upkeep import UpkeepCases
from gatewayd.testing.store_cases.work import WorkCases


class StoreContract(
    EventCases,
    WorkCases,
    OutboxCases,
    PushCases,
    StateCases,
    EntryPointCases,
    CheckpointCases,
    QuestionCases,
    AgentStateCases,
    UpkeepCases,
):
    """See `gatewayd.storage.base.Store` for what is promised."""
