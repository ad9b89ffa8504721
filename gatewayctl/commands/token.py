"""`gatewayctl token`: make a token for a client, and make tokens worthless.

`new` needs no daemon: the secret is made here, shown once, and only its SHA-256 goes into gateway.yaml.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

from gatewayctl.failures import USAGE, Failure
from gatewayctl.nouns import add_verb
from gatewayctl.plain import plain
from gatewayctl.scopes import EXAMPLES, fault
from gatewayctl.system import SystemChance
from gatewayctl.words import plural

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl

SECRET_BYTES = 32
MAX_NAME = 64
_NAME = re.compile(r"^[\w\-\.]+\Z", re.ASCII)
_RESERVED = {
    "local": "that is whoever connects through the unix socket",
    "default": "that is the client of gateway.auth_token",
}
_EXAMPLE = "gatewayctl token new dash --scope admin.read --scope 'events.subscribe:*@*'"
_DIGEST = re.compile(r"[0-9a-f]{64}")


def arguments(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    new = add_verb(verbs, "new", common, new_, "make a token; prints the secret once and the lines for gateway.yaml")
    new.add_argument("client", metavar="CLIENT", help="its name under clients")
    new.add_argument("--scope", action="append", default=[], metavar="SCOPE", help="what it may do; repeat for more")
    new.epilog = f"Scopes: {', '.join(EXAMPLES.values())}."
    revoke = add_verb(verbs, "revoke", common, revoke_, "make tokens worthless at once, across restarts")
    revoke.add_argument("subject", metavar="CLIENT|SHA256", help="all tokens of a client, or the one with this SHA-256")


def new_(args: argparse.Namespace, ctl: Ctl) -> None:
    _check(args.client, args.scope)
    chance = base64.urlsafe_b64encode(SystemChance().token(SECRET_BYTES)).rstrip(b"=").decode()
    token = f"gw_{args.client}_{chance}"
    digest = hashlib.sha256(token.encode()).hexdigest()
    entry = {"token_sha256": digest, "scopes": args.scope}
    if not ctl.out.for_people:
        ctl.out.values({"token": token, "clients": {args.client: entry}})
        return
    ctl.out.note("The token, shown this once; give it to the client:")
    ctl.out.say(token)
    ctl.out.note("Into gateway.yaml, then gatewayctl reload:")
    ctl.out.say("clients:")
    ctl.out.say(f"  {_scalar(args.client)}:")
    ctl.out.say(f"    token_sha256: {_scalar(digest)}")
    ctl.out.say(f"    scopes: [{', '.join(_scalar(scope) for scope in args.scope)}]")
    if not args.scope:
        ctl.out.note("Without scopes it may do nothing: add some, such as 'agents.send:*' or admin.read.")


def _check(client: str, scopes: list[str]) -> None:
    """A token that no configuration would accept is not made. Failure (usage) says what to write."""
    if not _NAME.match(client) or len(client) > MAX_NAME:
        raise Failure(
            f"{client!r} is no name for a client: use 1 to {MAX_NAME} letters, digits, '_', '-' and '.'", USAGE
        )
    if client in _RESERVED:
        raise Failure(f"{client!r} cannot be a client's name, {_RESERVED[client]}: choose another", USAGE)
    for scope in scopes:
        if wrong := fault(scope):
            raise Failure(f"{scope!r} is no scope: {wrong}", USAGE, [f"for example: {_EXAMPLE}"])


def revoke_(args: argparse.Namespace, ctl: Ctl) -> None:
    from gateway.v1 import admin_service_pb2 as pb  # noqa: PLC0415 - `new` needs none

    if _DIGEST.fullmatch(args.subject):
        request = pb.RevokeTokenRequest(token_sha256=args.subject)
    else:
        request = pb.RevokeTokenRequest(client_id=args.subject)
    answer = plain(ctl.daemon.call("AdminService/RevokeToken", request, pb.RevokeTokenResponse))
    fields: list[tuple[str, object]] = [("revoked", digest) for digest in answer["token_sha256"]]
    ctl.out.record(answer, [*fields, ("closed", plural(answer["connections_closed"], "connection"))])


def _scalar(text: str) -> str:
    """Quoted, so that YAML reads it as text whatever it looks like."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'
