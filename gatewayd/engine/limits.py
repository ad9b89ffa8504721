"""The bounds of an engine."""

from gatewayd.core.value import value


@value(frozen=True, slots=True)
class Limits:
    """At each count a typed error says so; times are in seconds."""

    queue: int = 1024
    """Messages that wait for one instance."""
    messages: int = 100_000
    """Messages that wait or are handled, in the whole engine."""
    instances: int = 100_000
    """Instances of all types together."""
    timeout: float = 60.0
    """How long a call may take whose caller does not say."""
    longest_timeout: float = 86_400.0
    """The most that a caller may ask for."""
    construction: float = 60.0
    """How long the making of an instance may take, its state included; likewise its saving and its closing."""
    idle: float | None = None
    """After how long without a message an instance is evicted; None for never. It happens within a quarter more."""
    remembered: int = 10_000
    """Outcomes of calls with an idempotency key that are kept."""
    remembered_for: float = 600.0
