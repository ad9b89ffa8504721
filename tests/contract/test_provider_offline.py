"""The offline models keep the contract of a provider."""

import pytest

from gatewayd.providers.offline import OfflineProvider
from gatewayd.testing.fakes import FakeClock
from gatewayd.testing.provider_contract import Ask, ProviderContract, Subject

BEHAVIOURS = {
    "echo": Ask("offline/echo", "one two three"),
    "tool": Ask("offline/assistant", "what time is it?"),
    "unavailable": Ask("offline/fail", "unavailable"),
    "refused": Ask("offline/fail", "refused"),
    "truncated": Ask("offline/fail", "truncated"),
    "silent": Ask("offline/slow", "100s hello"),
}


class TestOffline(ProviderContract):
    @pytest.fixture
    def subject(self) -> Subject:
        clock = FakeClock()
        return Subject(OfflineProvider(clock), clock, BEHAVIOURS, {})
