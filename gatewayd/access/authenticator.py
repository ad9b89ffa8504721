"""The authenticator: a token in, a principal out, or a refusal that tells nothing about why.

Until a configuration was committed nobody but the unix socket gets in; there is no path from "no token configured" to
"allowed". The door (`rpc`) calls `authenticate` once per call or stream and keeps the principal; `on_lost` tells it
which digests lost their worth, so that live streams end at once.
"""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal, Protocol

from gatewayd.access.audit import Audit, AuditStore
from gatewayd.access.clients import Client, ClientTable
from gatewayd.access.limiter import FailureLimiter
from gatewayd.access.principals import LostProof, Principal, local_principal
from gatewayd.access.sampling import Sampler
from gatewayd.access.tokens import MAX_TOKEN_LENGTH, stored_token
from gatewayd.config.model import GatewayConfig
from gatewayd.core.clock import Clock, Randomness
from gatewayd.core.disk import Disk
from gatewayd.core.errors import NotFound, Unauthenticated
from gatewayd.core.secret import Secret
from gatewayd.core.value import value
from gatewayd.service import TaskSet

log = logging.getLogger(__name__)

EXPIRY_CHECK = 0.5
"""Seconds between two looks at the wall clock while any token has an expiry; a stream ends within 1 s of it."""

Transport = Literal["unix", "tcp"]
Listener = Callable[[LostProof], None]
"""Told of the digests that are worth nothing from now on; must not raise and must not wait."""


class AccessStore(AuditStore, Protocol):
    """What the authenticator needs of the store."""

    def revoke_token(self, token_sha256: str, time: float) -> Awaitable[None]:
        """Remember it for good."""
        ...

    async def revoked_tokens(self) -> frozenset[str]:
        """All that were ever revoked."""
        ...


@value(frozen=True, slots=True)
class ClientInfo:
    """One client as an operator sees it; no digest and no secret."""

    id: str
    scopes: tuple[str, ...]
    expires: float | None
    last_used: float
    """Unix seconds of its last authentication since the daemon started; 0 for never."""
    revoked: bool
    """Whether all of its tokens are revoked."""


class Authenticator:
    """Proves who is asking. A `Service`: start it once the store is open, then apply `plan`."""

    name = "access"

    def __init__(
        self,
        *,
        clock: Clock,
        randomness: Randomness,
        disk: Disk,
        state: Path,
        store: AccessStore,
        audit: Audit,
        on_secret: Callable[[Secret], None],
    ) -> None:
        self._clock = clock
        self._randomness = randomness
        self._disk = disk
        self._state = state
        self._store = store
        self._audit = audit
        self._on_secret = on_secret
        self._limiters: dict[Transport, FailureLimiter] = {
            "unix": FailureLimiter(clock),
            "tcp": FailureLimiter(clock),
        }
        self._unproven: dict[Transport, Sampler] = {"unix": Sampler(clock), "tcp": Sampler(clock)}
        self._table = ClientTable()
        self._revoked: frozenset[str] = frozenset()
        self._expired: frozenset[str] = frozenset()
        self._last_used: dict[str, float] = {}
        self._listeners: list[Listener] = []
        self._tasks = TaskSet(self.name)

    async def start(self) -> None:
        """Learn what was revoked before, and begin to watch expiries."""
        self._revoked = await self._store.revoked_tokens()
        self._tasks.start(self._watch(), name="watch")

    async def drain(self) -> None:
        """Nothing to finish: those who are still at work stay authenticated."""

    async def stop(self) -> None:
        await self._tasks.close()

    def authenticate(self, token: str | None, transport: Transport, source: str) -> Principal:
        """Who is asking. Raises `Unauthenticated`, or `TooManyFailures` before the token is even looked at.

        `source` is the peer's address; over the unix socket it is not known, and all its failures count as one. Each
        failure is audited here and nowhere else.
        """
        if token is None:
            if transport == "unix":
                return local_principal()
            raise self.unproven(transport, source, "this door asks for a token: metadata 'authorization: Bearer gw_…'")
        limiter = self._limiters[transport]
        limiter.check(source)
        principal = self._table.find(token)
        if principal is None or len(token) > MAX_TOKEN_LENGTH or not self.valid(principal):
            locked = limiter.failed(source)
            claimed = principal.id if principal is not None else ""
            detail = f"{transport} {source}" + (", locked out" if locked else "")
            self._audit.record(principal=claimed, action="authenticate", decision="denied", detail=detail)
            raise Unauthenticated("the token is not valid")
        self._last_used[principal.id] = self._clock.now()
        return principal

    def unproven(self, transport: Transport, source: str, message: str) -> Unauthenticated:
        """The error for a caller that brought no token; audited by sample, since it costs the caller nothing."""
        key = self._unproven[transport].count(source)
        if key:
            self._record_unproven(transport, key, 1)
        return Unauthenticated(message)

    def _record_unproven(self, transport: Transport, source: str, times: int) -> None:
        detail = f"{transport} {source}, no token" + (f", {times} times in the last minute" if times > 1 else "")
        self._audit.record(principal="", action="authenticate", decision="denied", detail=detail)

    def valid(self, principal: Principal) -> bool:
        """Whether what the principal has proved still holds: not revoked, not expired, still configured."""
        if principal.local:
            return True
        holder = self._table.holder(principal.token_sha256)
        if holder is None or holder.id != principal.id or holder.scopes != principal.scopes:
            return False
        return principal.token_sha256 not in self._revoked and not self._is_expired(holder)

    def _is_expired(self, client: Client) -> bool:
        return client.expires is not None and client.expires <= self._clock.now()

    def on_lost(self, listener: Listener) -> None:
        """Tell this one of every token that loses its worth: by revocation, expiry or reload."""
        self._listeners.append(listener)

    async def revoke(self, subject: str, *, by: str) -> tuple[str, ...]:
        """Revoke the tokens of a client, or one token by its SHA-256; returns the digests.

        It holds from the call on, and for good once this returns. Raises `NotFound` when nobody has such a token; a
        digest that no client has can be revoked all the same, in case an old configuration comes back.
        """
        digests = self._digests(subject)
        self._revoked |= digests
        self._tell(LostProof(digests))
        self._audit.record(principal=by, action="revoke_token", subject=subject, decision="revoked")
        for digest in sorted(digests):
            await self._store.revoke_token(digest, self._clock.now())
        return tuple(sorted(digests))

    def _digests(self, subject: str) -> frozenset[str]:
        client = self._table.clients.get(subject)
        if client is not None:
            return frozenset(client.digests)
        if len(subject) == 64 and set(subject) <= set("0123456789abcdef"):
            return frozenset({subject})
        raise NotFound(f"no client is called {subject!r}, and it is not the SHA-256 of a token")

    def clients(self) -> list[ClientInfo]:
        """Every client that can authenticate by token, by id."""
        return [
            ClientInfo(
                id=client.id,
                scopes=tuple(client.scopes.texts()),
                expires=client.expires,
                last_used=self._last_used.get(client.id, 0.0),
                revoked=self._revoked.issuperset(client.digests),
            )
            for _, client in sorted(self._table.clients.items())
        ]

    def plan(self, old: GatewayConfig | None, new: GatewayConfig) -> "AccessChange":
        """What a reload from `old` (None at the start) to `new` changes here."""
        del old  # the table is small and is built anew; what it takes away is found by comparing
        return AccessChange(self, new)

    def build(self, config: GatewayConfig) -> ClientTable:
        """The table of a configuration; makes the token of `default` if nothing gives one."""
        token = config.gateway.auth_token
        if not token:
            # Read and, once in a lifetime, written: a file of 60 bytes does not hold up the loop.
            token, made = stored_token(self._disk, self._state, self._randomness, self._revoked)
            if made:
                log.info("token_generated", extra={"client": "default", "fingerprint": token.fingerprint})
            self._on_secret(token)
        return ClientTable.build(config, token.reveal())

    def replace(self, table: ClientTable) -> None:
        """Make the table the current one, and end the streams of those it leaves out."""
        lost = self._table.lost(table)
        self._table = table
        self._last_used = {name: time for name, time in self._last_used.items() if name in table.clients}
        for each in lost:
            self._tell(each)

    def _tell(self, lost: LostProof) -> None:
        if not lost.digests:
            return
        for listener in self._listeners:
            try:
                listener(lost)
            except Exception:
                log.exception("proof_listener_failed")

    async def _watch(self) -> None:
        """Tell of tokens that expire: the wall clock may jump, so it is looked at often instead of slept towards."""
        while True:
            expired = frozenset(
                digest
                for client in self._table.clients.values()
                if self._is_expired(client)
                for digest in client.digests
            )
            self._tell(LostProof(expired - self._expired))
            self._expired = expired
            for transport, sampler in self._unproven.items():
                for source, times in sampler.due():
                    self._record_unproven(transport, source, times)
            await self._clock.sleep(EXPIRY_CHECK)


class AccessChange:
    """The clients' part of a reload."""

    def __init__(self, authenticator: Authenticator, config: GatewayConfig) -> None:
        self._authenticator = authenticator
        self._config = config
        self._table: ClientTable | None = None

    async def prepare(self) -> None:
        """Build the table; `InvalidArgument` or `OSError` refuses the reload."""
        self._table = self._authenticator.build(self._config)

    def commit(self) -> None:
        if self._table is not None:
            self._authenticator.replace(self._table)

    async def retire(self) -> None:
        """Nothing is left over."""

    async def abandon(self) -> None:
        self._table = None
