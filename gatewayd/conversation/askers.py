"""Who has asked which worker across principals, and may be answered: the newest questions."""

from collections import OrderedDict
from collections.abc import Iterable

from gatewayd.conversation.client import Key
from gatewayd.core.event import Event

ANSWERABLE = 100_000
"""Questions that are remembered. Beyond it the principal that has the most loses its oldest: it cannot be answered any
more, and nobody else notices."""

_Question = tuple[Key, str, str]
"""The worker that was asked, the client id of who asked, and the correlation id."""


class Askers:
    """Owned by the mail of agents."""

    def __init__(self, most: int = ANSWERABLE) -> None:
        self._most = most
        self._asked: dict[str, OrderedDict[_Question, None]] = {}
        """By principal, of which there are as many as the configuration has."""
        self._count = 0

    def note(self, worker: Key, event: Event) -> None:
        """The event's owner asks this worker by it."""
        asked = self._asked.setdefault(event.owner, OrderedDict())
        question = (worker, event.stream_id, event.correlation_id)
        if question in asked:
            asked.move_to_end(question)
            return
        asked[question] = None
        self._count += 1
        if self._count > self._most:
            most = max(self._asked.values(), key=len)
            most.popitem(last=False)
            self._count -= 1

    def among(self, principals: Iterable[str], worker: Key, client_id: str, correlation_id: str) -> frozenset[str]:
        """Those whose client of that id has asked this worker under that correlation id."""
        question = (worker, client_id, correlation_id)
        return frozenset(each for each in principals if question in self._asked.get(each, ()))
