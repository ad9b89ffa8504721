"""What the tests of access share: an authenticator over a store in memory, and the tokens of two clients."""

from pathlib import Path

from gatewayd.access.audit import Audit
from gatewayd.access.authenticator import Authenticator
from gatewayd.access.tokens import digest_of, mint
from gatewayd.config.model import ClientSection, GatewayConfig, GatewaySection
from gatewayd.core.clock import SeededRandomness
from gatewayd.core.disk import SystemDisk
from gatewayd.core.errors import StoreBusy
from gatewayd.core.secret import Secret
from gatewayd.testing.fakes import FakeClock


class MemoryStore:
    def __init__(self):
        self.audit = []
        self.revoked = {}
        self.busy = False

    def record_audit(self, record):
        if self.busy:
            raise StoreBusy("full")
        self.audit.append(record)
        return _Done()

    def revoke_token(self, token_sha256, time):
        self.revoked[token_sha256] = time
        return _Done()

    async def revoked_tokens(self):
        return frozenset(self.revoked)


class _Done:
    def __await__(self):
        return iter(())


class Rig:
    def __init__(self, folder, store=None):
        self.clock = FakeClock()
        self.store = store or MemoryStore()
        self.folder = Path(folder)
        self.secrets = []
        self.lost = []
        self.authenticator = Authenticator(
            clock=self.clock,
            randomness=SeededRandomness(7),
            disk=SystemDisk(),
            state=self.folder,
            store=self.store,
            audit=Audit(self.store, self.clock),
            on_secret=self.secrets.append,
        )
        self.authenticator.on_lost(self.lost.append)

    async def apply(self, config):
        change = self.authenticator.plan(None, config)
        await change.prepare()
        change.commit()
        await change.retire()

    def tcp(self, token, source="192.0.2.1"):
        return self.authenticator.authenticate(token, "tcp", source)


TOKEN = mint("node", SeededRandomness(1)).reveal()
SECOND = mint("node", SeededRandomness(2)).reveal()
OTHER = mint("other", SeededRandomness(3)).reveal()


def config(auth_token="operator", **clients):
    return GatewayConfig(gateway=GatewaySection(auth_token=Secret(auth_token) if auth_token else None), clients=clients)


def client(*tokens, scopes=("agents.send:*",), expires=None):
    return ClientSection(token_sha256=tuple(map(digest_of, tokens)), scopes=scopes, expires=expires)
