"""What a conversation leads to."""

from collections.abc import Callable

from gatewayd.agents.registry import AgentRegistry
from gatewayd.bus.base import EventBus
from gatewayd.config.model import GatewaySection
from gatewayd.conversation.controlling import Controlling
from gatewayd.conversation.publishing import Publishing
from gatewayd.conversation.sends import Sends
from gatewayd.conversation.speaking import Speaking
from gatewayd.conversation.triggering import Triggering
from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError
from gatewayd.core.event import Cursor
from gatewayd.core.value import value
from gatewayd.push.service import Push
from gatewayd.routing.router import Router


@value(frozen=True, slots=True)
class Doors:
    """The parts behind a conversation; one per gateway."""

    router: Router
    agents: AgentRegistry
    publishing: Publishing
    sends: Sends
    triggering: Triggering
    controlling: Controlling
    speaking: Speaking
    push: Push
    bus: EventBus
    oldest: Callable[[], Cursor]
    settings: Callable[[], GatewaySection]
    clock: Clock
    refused: Callable[[str, str, GatewayError], None]
    """Told of each request that is refused: principal, kind of frame, error; for the audit."""
