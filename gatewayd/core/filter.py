"""What a subscriber wants to see: fields are ANDed, an empty string is no filter."""

from gatewayd.core.event import Event, EventType
from gatewayd.core.topic import TopicPattern
from gatewayd.core.value import value


@value(frozen=True, slots=True)
class EventFilter:
    """A selection of events. `types` None means every type; an empty set is refused where filters are read."""

    types: frozenset[EventType] | None = None
    stream_id: str = ""
    node_id: str = ""
    execution_id: str = ""
    session_id: str = ""
    correlation_id: str = ""
    topic: TopicPattern | None = None

    def matches(self, event: Event) -> bool:
        """Whether the event is selected; who may see it is another question (`access`)."""
        return (
            (self.types is None or event.type in self.types)
            and (not self.stream_id or self.stream_id == event.stream_id)
            and (not self.node_id or self.node_id == event.node_id)
            and (not self.execution_id or self.execution_id == event.execution_id)
            and (not self.session_id or self.session_id == event.session_id)
            and (not self.correlation_id or self.correlation_id == event.correlation_id)
            and (self.topic is None or (bool(event.topic) and self.topic.matches(event.topic)))
        )
