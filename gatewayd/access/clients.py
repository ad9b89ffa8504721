"""The table of clients that one configuration makes: an immutable value that a reload replaces as a whole."""

import hmac
from collections.abc import Mapping
from dataclasses import field

from gatewayd.access.principals import DEFAULT, LostProof, Principal
from gatewayd.access.scopes import EVERY_SCOPE, Scopes
from gatewayd.access.tokens import client_of, digest_of
from gatewayd.config.model import GatewayConfig
from gatewayd.core.value import value

_SLOTS = 2
"""Live secrets that a client may have, so that one can replace the other."""
_NOBODY = ("0" * 64,) * _SLOTS
"""Compared with where there is no client, so that an unknown id costs as much as a known one."""


@value(frozen=True, slots=True)
class Client:
    """One client that can authenticate by token."""

    id: str
    digests: tuple[str, ...]
    """SHA-256 of its one or two tokens, hexadecimal."""
    scopes: Scopes
    expires: float | None = None
    """Unix seconds; None is never."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Always as many digests as a client can have."""
        return (*self.digests, *_NOBODY)[:_SLOTS]

    def principal(self, digest: str) -> Principal:
        """Who has shown the token of that digest."""
        return Principal(self.id, self.scopes, expires=self.expires, token_sha256=digest)


@value(frozen=True, slots=True)
class ClientTable:
    """Clients by id and by the digests of their tokens."""

    clients: Mapping[str, Client] = field(default_factory=dict)
    by_digest: Mapping[str, Client] = field(default_factory=dict)

    @classmethod
    def build(cls, config: GatewayConfig, default_token: str) -> "ClientTable":
        """The clients of the configuration, and `default` with its token. Raises `InvalidArgument` for a bad scope."""
        clients = {DEFAULT: Client(DEFAULT, (digest_of(default_token),), EVERY_SCOPE)}
        for name, section in config.clients.items():
            expires = section.expires.timestamp() if section.expires is not None else None
            clients[name] = Client(name, tuple(section.token_sha256), Scopes.parse(section.scopes), expires)
        return cls(clients, {digest: client for client in clients.values() for digest in client.digests})

    def find(self, token: str) -> Principal | None:
        """Whose token it is, expired or not. Every text costs one digest and the same number of comparisons.

        A text in the form of a token may still be `gateway.auth_token`, so `default` is always compared as well.
        """
        digest = digest_of(token)
        claimed = self.clients.get(client_of(token))
        found: Principal | None = None
        for client in (claimed, self.clients.get(DEFAULT)):
            for slot in client.slots if client is not None else _NOBODY:
                if hmac.compare_digest(slot, digest) and client is not None:
                    found = client.principal(slot)  # equal, and kept but once
        return found

    def holder(self, digest: str) -> Client | None:
        """The client that a digest belongs to."""
        return self.by_digest.get(digest)

    def lost(self, newer: "ClientTable") -> tuple[LostProof, LostProof]:
        """The tokens that are no longer their client's in the newer table, and those that have other scopes there."""
        gone: set[str] = set()
        rescoped: set[str] = set()
        for client in self.clients.values():
            for digest in client.digests:
                holder = newer.holder(digest)
                if holder is None or holder.id != client.id:
                    gone.add(digest)
                elif holder.scopes != client.scopes:
                    rescoped.add(digest)
        return LostProof(frozenset(gone)), LostProof(frozenset(rescoped), rescoped=True)
