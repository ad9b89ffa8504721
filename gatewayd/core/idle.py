"""Queues that are empty nearly always, and then take nothing: an empty deque is 760 bytes, and a stream has four."""

from collections import deque
from typing import Any, TypeVar

T = TypeVar("T")

IDLE: deque[Any] = deque(maxlen=0)
"""The queue in which nothing waits, for all. It holds nothing: what is put in by `queued` goes into one of its own."""


def queued(queue: deque[T], item: T) -> deque[T]:
    """The queue with the item at its end."""
    if queue:
        queue.append(item)
        return queue
    return deque((item,))
