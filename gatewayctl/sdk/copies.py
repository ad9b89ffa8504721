"""Telling a delivery that comes again from the copy of one that is here: the daemon delivers at least once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.v1 import topic_pb2

from gatewayctl.sdk.errors import EventsLost

__all__ = ["Copies", "Item"]

MAX_KNOWN = 10_000
"""Deliveries that are remembered, of each kind; the oldest are forgotten."""


@dataclass(slots=True, eq=False)
class Item:
    """What waits for the reader; None for what has become void."""

    value: topic_pb2.TopicMessage | topic_pb2.PresenceChange | EventsLost | None
    size: int


class Copies:
    """What is known of the deliveries of one membership, by message: it waits, was given, or is handled."""

    def __init__(self) -> None:
        self._waiting: dict[str, Item] = {}
        self._given: dict[str, int] = {}
        self._handled: dict[str, None] = {}

    def reconnected(self) -> None:
        """Whatever comes again from now on may not have been handled."""
        self._given.clear()

    def waits(self, message_id: str, item: Item) -> None:
        """It waits for the reader."""
        self._waiting[message_id] = item

    def given(self, message: topic_pb2.TopicMessage) -> None:
        """The reader has it."""
        self._waiting.pop(message.message_id, None)
        _remember(self._given, message.message_id, message.redelivered)

    def is_handled(self, message_id: str) -> bool:
        return message_id in self._handled

    def handled(self, message_id: str) -> None:
        """The reader is done with it; a copy that came while it was being handled becomes void."""
        _remember(self._handled, message_id, None)
        self._given.pop(message_id, None)
        if item := self._waiting.pop(message_id, None):
            item.value = None

    def is_copy(self, message: topic_pb2.TopicMessage) -> bool:
        """Whether it waits for the reader, who gets the newer one then, or was given with the same count."""
        if item := self._waiting.get(message.message_id):
            item.value = message
            return True
        return self._given.get(message.message_id, -1) >= message.redelivered

    def clear(self) -> None:
        """Nothing waits any more."""
        self._waiting.clear()


def _remember(known: dict[str, Any], key: str, value: object) -> None:
    known[key] = value
    if len(known) > MAX_KNOWN:
        del known[next(iter(known))]
