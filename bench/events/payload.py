"""What an event of the load carries, so that a subscriber can tell whether it got each once, in order and intact.

A payload has a number, its publisher and a time in front, then a checksum of all the rest. The events of a load are
made before it and published over and over in a ring, so that making them costs the load nothing while it is measured.
"""

import struct
import zlib
from collections.abc import Callable, Sequence

from bench.processes import WrongAnswer

RING = 4000
"""Events that are made for a load."""
EVENT_BYTES = 200
"""Size of one event as its server gets it, envelope included, in every arm."""

_HEAD = struct.Struct(">QHd")
_SUM = struct.Struct(">I")
HEAD = _HEAD.size + _SUM.size


def payload(size: int, number: int, publisher: int = 0, when: float = 0.0) -> bytes:
    """A payload of so many bytes."""
    head = _HEAD.pack(number, publisher, when)
    filler = (number * 2654435761 & 0xFFFFFFFF).to_bytes(4, "big") * ((size - HEAD) // 4 + 1)
    rest = filler[: size - HEAD]
    return head + _SUM.pack(zlib.crc32(rest, zlib.crc32(head))) + rest


def opened(data: bytes) -> tuple[int, int, float]:
    """Number, publisher and time of a payload; `WrongAnswer` if it is not intact."""
    number, publisher, when = _HEAD.unpack_from(data)
    (said,) = _SUM.unpack_from(data, _HEAD.size)
    if said != zlib.crc32(data[HEAD:], zlib.crc32(data[: _HEAD.size])):
        raise WrongAnswer(f"event {number} of publisher {publisher} was damaged on its way")
    return number, publisher, when


class Inspector:
    """Checks what each subscriber gets: every number of every publisher once, and in order where that is promised.

    `wants` tells whether a subscriber is to get the event of a number at all.
    """

    def __init__(
        self,
        name: str,
        subscribers: int,
        publishers: int,
        *,
        ordered: bool,
        wants: Callable[[int, int], bool] = lambda _subscriber, _number: True,
    ) -> None:
        self._name = name
        self._ordered = ordered
        self._wants = wants
        self._next = [[0] * publishers for _ in range(subscribers)]
        self._seen: list[set[tuple[int, int]]] = [set() for _ in range(subscribers)]

    def look(self, subscriber: int, data: bytes) -> None:
        """One payload has come."""
        number, publisher, _ = opened(data)
        if self._ordered:
            expected = self._after(subscriber, self._next[subscriber][publisher])
            if number != expected:
                raise WrongAnswer(
                    f"{self._name}: subscriber {subscriber} got event {number} of publisher {publisher}, "
                    f"not {expected}: lost, doubled or out of order"
                )
        elif (number, publisher) in self._seen[subscriber]:
            raise WrongAnswer(f"{self._name}: subscriber {subscriber} got event {number} twice")
        else:
            self._seen[subscriber].add((number, publisher))
        self._next[subscriber][publisher] = number + 1 if self._ordered else self._next[subscriber][publisher] + 1

    def finish(self, published: Sequence[int]) -> None:
        """Everybody must have got all that each publisher published."""
        for subscriber, got in enumerate(self._next):
            reached = [self._after(subscriber, number, most) for number, most in zip(got, published, strict=True)]
            if reached != list(published):
                raise WrongAnswer(f"{self._name}: subscriber {subscriber} got {got} events of {list(published)}")

    def _after(self, subscriber: int, number: int, most: int = 1 << 62) -> int:
        """The first number from `number` on that the subscriber is to get, at most `most`."""
        while number < most and not self._wants(subscriber, number):
            number += 1
        return number
