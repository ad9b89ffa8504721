"""What a client asks of the runtime, by single calls."""

from gatewayctl.sdk.goals import Goals
from gatewayctl.sdk.triggers import Triggers

__all__ = ["Runtime"]


class Runtime(Triggers, Goals):
    """A part of `Client`: entry points, and the goals of their executions."""
