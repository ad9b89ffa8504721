"""Which path is whose: the webhooks of one configuration, and what is counted of each over all of them."""

from collections.abc import Mapping

from gatewayd.config.model import GatewayConfig, WebhookSection
from gatewayd.config.problems import dotted
from gatewayd.core.value import value


class Counts:
    """Of one source since the listener was first opened."""

    __slots__ = ("accepted", "duplicates", "put_off", "refused")

    def __init__(self) -> None:
        self.accepted = 0
        self.duplicates = 0
        """Deliveries that had been taken before."""
        self.refused = 0
        """Requests whose signature was not right, or whose content cannot be taken."""
        self.put_off = 0
        """Requests that were told to come again."""


@value(frozen=True, slots=True)
class Hook:
    """One source."""

    source_id: str
    section: WebhookSection
    keys: tuple[bytes, ...]
    unavailable: str = ""
    """Why it cannot be served now: a secret that could not be looked up. '' when it can."""


def table_of(config: GatewayConfig, unavailable: Mapping[str, str]) -> dict[str, Hook]:
    """Path → whose it is. `unavailable` is that of the loaded configuration."""
    return {
        section.path: Hook(name, section, section.keys(), unavailable.get(dotted(("webhooks", name)), ""))
        for name, section in config.webhooks.items()
    }
