"""The sections of parts by name that are read alike: key, what a part is, and what one without its secret becomes."""

from typing import Final

from gatewayd.config.goals import GoalSection
from gatewayd.config.graphs import GraphSection
from gatewayd.config.model import ClientSection, EntryPointSection, WebhookSection
from gatewayd.config.reader import Unset
from gatewayd.config.section import Section

NAMED: Final[tuple[tuple[str, type[Section], Unset], ...]] = (
    ("clients", ClientSection, Unset.DEGRADE),
    ("webhooks", WebhookSection, Unset.DEGRADE),
    ("entry_points", EntryPointSection, Unset.REFUSE),
    ("graphs", GraphSection, Unset.REFUSE),
    ("goals", GoalSection, Unset.REFUSE),
)
