"""Who gets what is published: subscriptions by topic type and by its beginning, in tables.

An event reaches the instance whose key is the topic's source, once per agent type however many subscriptions match.
Adding and removing touch that subscription's own entries; routes are remembered by topic type, a bounded number of
them, and only of topics that somebody wants.
"""

from collections.abc import Iterable, Sequence

from gatewayd.core.agents import check_agent_type, check_topic_type
from gatewayd.core.value import value
from gatewayd.engine.errors import SubscriptionExists, SubscriptionNotFound

_REMEMBERED = 1024
"""Topic types whose routes are remembered."""


@value(frozen=True, slots=True)
class Subscription:
    """An agent type wants what is published about a topic type, or about every one that begins so."""

    topic_type: str
    agent_type: str
    prefix: bool = False
    id: str = ""
    """'' for one made of the other three."""

    def __post_init__(self) -> None:
        check_topic_type(self.topic_type)
        check_agent_type(self.agent_type)
        if not self.id:
            object.__setattr__(self, "id", f"{self.topic_type}{'*' if self.prefix else ''} -> {self.agent_type}")


def direct(agent_type: str) -> Subscription:
    """What every registered type has: topics that name it, `TYPE:` and anything after it."""
    return Subscription(f"{agent_type}:", agent_type, prefix=True)


class Subscriptions:
    """All subscriptions of one engine."""

    def __init__(self) -> None:
        self._by_id: dict[str, Subscription] = {}
        self._by_agent: dict[str, dict[str, None]] = {}
        self._exact: dict[str, dict[str, None]] = {}
        self._prefixes: dict[int, dict[str, dict[str, None]]] = {}
        self._routes: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def all(self) -> Sequence[Subscription]:
        """In the order in which they were added."""
        return tuple(self._by_id.values())

    def has(self, one: Subscription) -> bool:
        """Whether its id, or its topic and agent, are there."""
        table = self._prefixes.get(len(one.topic_type), {}) if one.prefix else self._exact
        return one.id in self._by_id or one.agent_type in table.get(one.topic_type, ())

    def add(self, subscription: Subscription) -> None:
        """`SubscriptionExists` if its id, or its topic and agent, are there."""
        self.add_all((subscription,))

    def add_all(self, subscriptions: Iterable[Subscription]) -> None:
        """All or none."""
        added: list[Subscription] = []
        try:
            for each in subscriptions:
                self._add(each)
                added.append(each)
        except SubscriptionExists:
            for each in added:
                self.remove(each.id)
            raise

    def _add(self, one: Subscription) -> None:
        if self.has(one):
            raise SubscriptionExists(f"there is a subscription {one.id!r}", metadata={"subscription": one.id})
        self._table(one).setdefault(one.topic_type, {})[one.agent_type] = None
        self._by_id[one.id] = one
        self._by_agent.setdefault(one.agent_type, {})[one.id] = None
        self._forget(one)

    def remove(self, subscription_id: str) -> None:
        """`SubscriptionNotFound`."""
        one = self._by_id.pop(subscription_id, None)
        if one is None:
            raise SubscriptionNotFound(
                f"there is no subscription {subscription_id[:200]!r}", metadata={"subscription": subscription_id[:200]}
            )
        table = self._table(one)
        del table[one.topic_type][one.agent_type]
        if not table[one.topic_type]:
            del table[one.topic_type]
            if one.prefix and not table:
                del self._prefixes[len(one.topic_type)]
        del self._by_agent[one.agent_type][one.id]
        if not self._by_agent[one.agent_type]:
            del self._by_agent[one.agent_type]
        self._forget(one)

    def remove_agent(self, agent_type: str) -> None:
        """All of that agent type."""
        for subscription_id in list(self._by_agent.get(agent_type, ())):
            self.remove(subscription_id)

    def agents_for(self, topic_type: str) -> tuple[str, ...]:
        """The agent types that want it, each once, those of the exact type first."""
        found = self._routes.get(topic_type)
        if found is None:
            found = self._look(topic_type)
            if found:
                if len(self._routes) >= _REMEMBERED:
                    self._routes = {}
                self._routes[topic_type] = found
        return found

    def _look(self, topic_type: str) -> tuple[str, ...]:
        found = dict(self._exact.get(topic_type, ()))
        for length, table in self._prefixes.items():
            if length <= len(topic_type):
                found.update(table.get(topic_type[:length], ()))
        return tuple(found)

    def _table(self, one: Subscription) -> dict[str, dict[str, None]]:
        if not one.prefix:
            return self._exact
        return self._prefixes.setdefault(len(one.topic_type), {})

    def _forget(self, one: Subscription) -> None:
        if one.prefix:
            self._routes = {}
        else:
            self._routes.pop(one.topic_type, None)
