"""What a client may do, as the daemon has told it."""

from __future__ import annotations

from gatewayctl.sdk.conversation import Conversation

__all__ = ["Standing"]


class Standing:
    """A part of `Client`."""

    _conversation: Conversation

    @property
    def scopes(self) -> frozenset[str]:
        """Its scopes, as they are written in gateway.yaml, at the last welcome; an older daemon says none."""
        return frozenset(self._conversation.welcome.scopes)
