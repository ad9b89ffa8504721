"""Which crash each cycle has: follows from the seed and the cycle's number alone, so that one can be repeated."""

import random
from dataclasses import dataclass

from gatewayd.core.failpoints import POINTS


@dataclass(frozen=True)
class Cycle:
    """One life of the daemon and its end."""

    number: int
    point: str
    """A failpoint, `any`, or `` for a kill from outside at a random instant."""
    hits: int
    """After the cycle's writes, the hit of the point at which the daemon dies."""
    delay: float
    """For a kill from outside: seconds between the cycle's writes and the kill."""
    stumble: str
    """What befalls the start after the crash, before the one that counts: `` nothing, else SECONDS or POINT:N."""

    @property
    def crash(self):
        """For people."""
        crash = f"{self.point}:{self.hits}" if self.point else f"random+{self.delay:.2f}s"
        return f"{crash}, start killed at {self.stumble}" if self.stumble else crash


def cycle(seed, number, points=()):
    """Cycle `number` (from 1). Every second one dies at a named point, in turn; the others at random instants.

    With `points` all cycles die at one of these.
    """
    rng = random.Random(f"{seed}/{number}")
    named = points or (POINTS if number % 2 == 0 else ())
    point = named[(number - 1 if points else number // 2 - 1) % len(named)] if named else ""
    if not point and rng.random() < 0.25:
        point = "any"
    hits = rng.randint(1, 60 if point == "any" else 6)
    stumble = ""
    if rng.random() < 0.25:
        in_recovery = ("store.before_commit", "store.after_commit", "outbox.after_mark_sending", "outbox.after_send")
        stumble = f"{rng.uniform(0.05, 0.8):.2f}" if rng.random() < 0.6 else f"{rng.choice(in_recovery)}:1"
    return Cycle(number, point, hits, rng.uniform(0.0, 0.3), stumble)
