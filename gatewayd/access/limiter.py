"""The limiter in front of authentication: who fails too often waits, whatever it brings next.

It is asked before a token is looked at, so no combination of credentials gets around it. Loopback counts like any
other address. A success takes nothing away: whoever holds one valid token must not be able to guess at others. Only
time forgives. Memory is bounded; what the table of sources forgets, the global count still holds.
"""

import ipaddress
from collections import OrderedDict

from gatewayd.core.clock import Clock
from gatewayd.core.errors import TooManyFailures
from gatewayd.core.value import record

FREE_FAILURES = 5
"""Failures of one source that cost nothing."""
GLOBAL_FREE_FAILURES = 100
"""Failures of all sources together that cost nothing."""
FIRST_LOCK = 1.0
"""Seconds of the first lock; each further failure doubles it."""
LONGEST_LOCK = 300.0
LONGEST_GLOBAL_LOCK = 15.0
"""Short, because it shuts out the innocent too."""
FORGIVEN_AFTER = 60.0
"""Seconds without a failure, beyond the end of a lock, after which one failure is forgiven."""
MAX_SOURCES = 10_000


@record(slots=True)
class _Record:
    failures: int = 0
    locked_until: float = 0.0
    last: float = 0.0


class FailureLimiter:
    """Counts failed authentications by source and over all; times are those of the monotonic clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sources: OrderedDict[str, _Record] = OrderedDict()
        self._all = _Record()
        self.refused = 0
        """Attempts that were turned away without a look at their token."""

    def check(self, source: str) -> None:
        """Raise `TooManyFailures` while this source, or everybody, is locked out."""
        now = self._clock.monotonic()
        # Where nobody has failed, the source need not be read: that costs more than all the rest.
        record = self._sources.get(source_key(source)) if self._sources else None
        until = max(self._all.locked_until, record.locked_until if record else 0.0)
        if until > now:
            self.refused += 1
            raise TooManyFailures("too many failed authentications; wait before the next", retry_after=until - now)

    def failed(self, source: str) -> bool:
        """Count a failure; whether the source is locked out by it."""
        now = self._clock.monotonic()
        key = source_key(source)
        record = self._sources.setdefault(key, _Record())
        self._sources.move_to_end(key)
        _count(record, now, FREE_FAILURES, LONGEST_LOCK)
        _count(self._all, now, GLOBAL_FREE_FAILURES, LONGEST_GLOBAL_LOCK)
        while len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)
        return max(record.locked_until, self._all.locked_until) > now


def _count(record: _Record, now: float, free: int, longest: float) -> None:
    quiet = now - max(record.last, record.locked_until)
    record.failures = max(0, record.failures - int(quiet / FORGIVEN_AFTER)) + 1
    record.last = now
    beyond = record.failures - free
    if beyond > 0:
        record.locked_until = now + min(longest, FIRST_LOCK * 2.0 ** min(beyond - 1, 30))


def source_key(source: str) -> str:
    """What failures are counted by: an IPv4 address, the /64 of an IPv6 one (one host owns that many), or the text."""
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return source[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
