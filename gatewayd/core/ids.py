"""Ids: 26 characters, unique, and sorted by the time of their making.

The layout is that of ULID (https://github.com/ulid/spec): 48 bits of milliseconds, 80 bits of chance, Crockford's
base 32. Two ids from one source in one millisecond are ordered too: the second takes the first's chance plus one.
"""

from gatewayd.core.clock import Clock, Randomness

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHANCE_BITS = 80
_CHANCE_BYTES = _CHANCE_BITS // 8
_AT_ONCE = 64
"""Chances asked for together: one call to the kernel costs as much as a dozen ids."""
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_LOW_BITS = 40
_HIGH_SHIFTS = tuple(range(120 - _LOW_BITS, -1, -10))


class IdSource:
    """Makes ids; one per daemon."""

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._randomness = randomness
        self._last_millis = -1
        self._last_chance = 0
        self._chances = b""
        self._high = -1
        self._high_text = ""

    def new(self) -> str:
        """A fresh id, greater than every earlier one of this source while the clock does not go backwards."""
        millis = int(self._clock.now() * 1000)
        if millis <= self._last_millis:
            millis = self._last_millis
            self._last_chance = (self._last_chance + 1) % (1 << _CHANCE_BITS)
        else:
            self._last_chance = self._chance()
        self._last_millis = millis
        return self._encode((millis << _CHANCE_BITS) | self._last_chance)

    def _chance(self) -> int:
        if not self._chances:
            self._chances = self._randomness.token(_AT_ONCE * _CHANCE_BYTES)
        taken, self._chances = self._chances[:_CHANCE_BYTES], self._chances[_CHANCE_BYTES:]
        return int.from_bytes(taken, "big") >> 1

    def _encode(self, number: int) -> str:
        high = number >> _LOW_BITS
        if high != self._high:  # ids of one millisecond differ in their last characters alone
            self._high = high
            self._high_text = "".join([_PAIRS[high >> shift & 1023] for shift in _HIGH_SHIFTS])
        pairs = _PAIRS
        return (
            self._high_text
            + pairs[number >> 30 & 1023]
            + pairs[number >> 20 & 1023]
            + pairs[number >> 10 & 1023]
            + pairs[number & 1023]
        )
