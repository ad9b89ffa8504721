"""gatewayd: an always-on gateway between AI agents and the world."""

__version__ = "0.1.0"
