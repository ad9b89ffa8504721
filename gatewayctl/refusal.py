"""What the daemon's refusals mean to the person at the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from gatewayctl.address import Address
from gatewayctl.asked import how_to_wait
from gatewayctl.details import Details, details_of
from gatewayctl.failures import FAILED, NOT_RUNNING, UNAUTHORIZED, UNKNOWN, Failure
from gatewayctl.words import delay

if TYPE_CHECKING:
    from gatewayctl.sdk.errors import GatewayError

_EXIT = {
    grpc.StatusCode.UNAUTHENTICATED: UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: UNAUTHORIZED,
    grpc.StatusCode.NOT_FOUND: UNKNOWN,
}


def failure_of(error: grpc.RpcError, address: Address, limit: float, *, has_token: bool) -> Failure:
    """The sentence and the exit code for a failed call that had `limit` seconds."""
    details = details_of(error)
    code = error.code()
    if not details.reason:
        return _transport(code, error.details() or "", address, limit, has_token=has_token)
    return _refused(code, error.details() or details.reason, details, address, has_token=has_token)


def failure_of_error(error: GatewayError, address: Address, *, has_token: bool) -> Failure:
    """The same for an error of the SDK."""
    code = next((each for each in grpc.StatusCode if each.value[0] == error.code), grpc.StatusCode.UNKNOWN)
    if not error.reason:
        return _transport(code, error.message, address, 10.0, has_token=has_token)
    details = Details(error.reason, error.metadata, error.violations, error.retry_after)
    return _refused(code, error.message, details, address, has_token=has_token)


def _refused(code: grpc.StatusCode, message: str, details: Details, address: Address, *, has_token: bool) -> Failure:
    lines = violation_lines(details.violations, message)
    if details.reason == "CONFIG_INVALID" and lines:
        count = int(details.metadata.get("violations", len(lines)))
        message = f"the configuration has {count} problem{'s' if count > 1 else ''}, nothing was changed"
    if code is grpc.StatusCode.UNAUTHENTICATED:
        message = f"{message}: {_how_to_authenticate(address, has_token=has_token)}"
    if details.reason == "HISTORY_LOST" and (oldest := details.metadata.get("oldest_cursor")):
        message = f"{message}: go on with --since {oldest}"
    execution_id = details.metadata.get("execution_id", "")
    if details.reason in ("DRAINING", "UNAVAILABLE") and execution_id:
        return Failure(message, FAILED, [how_to_wait(execution_id)])
    if details.retry_after:
        message = f"{message} (try again in {delay(details.retry_after)})"
    failure = Failure(message, _EXIT.get(code, FAILED), lines)
    failure.execution_id = execution_id
    return failure


def violation_lines(violations: tuple[tuple[str, str], ...], message: str = "") -> list[str]:
    """One line for each, without what the sentence says already. A problem of the configuration names its place."""
    lines = [text if not name or name in text else f"{name}: {text}" for name, text in violations]
    return [line for line in lines if line != message and not message.endswith(f": {line}")]


def _transport(code: grpc.StatusCode, said: str, address: Address, limit: float, *, has_token: bool) -> Failure:
    if code is grpc.StatusCode.UNAVAILABLE and (wrong := _tls_trouble("" if address.is_unix else said)):
        return Failure(f"no way to gatewayd at {address.text}: {wrong}", NOT_RUNNING)
    if code is grpc.StatusCode.UNAVAILABLE:
        return Failure(
            f"gatewayd does not answer at {address.text}: start it (systemctl start gatewayd, "
            "or gatewayd --config FILE), or name its address with --address",
            NOT_RUNNING,
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Failure(f"gatewayd at {address.text} gave no answer within {limit:g} s: try again with --timeout")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Failure(
            f"the daemon at {address.text} does not know this call: it is of another version, see gatewayctl status"
        )
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return Failure(f"gatewayd wants a token: {_how_to_authenticate(address, has_token=has_token)}", UNAUTHORIZED)
    return Failure(f"{said or code.name} ({code.name} from {address.text})", _EXIT.get(code, FAILED))


def _tls_trouble(said: str) -> str:
    """What somebody can do about it, from what grpc tells of the last try; empty if that was not TLS."""
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return "its certificate is not of an authority in --ca, has ended, or is another machine's"
    if "WRONG_VERSION_NUMBER" in said:
        return "it speaks none; leave out --ca and $GATEWAYCTL_CA"
    if "Socket closed" in said:
        return "it closed the connection; if it speaks TLS, name its authority with --ca, and show a --client-cert"
    if "handshake" in said.lower() or "Cannot check peer" in said or "Hostname Verification" in said:
        return "the handshake failed; it may want --client-cert, or the address be that of HTTP, or another name"
    return ""


def _how_to_authenticate(address: Address, *, has_token: bool) -> str:
    if has_token:
        return f"the token stored for {address.text} is not, or no longer, valid; make one with gatewayctl token new"
    return (
        f"write '{address.text} TOKEN' into ~/.config/gatewayctl/credentials (mode 0600), "
        "or use the unix socket (--address unix:PATH)"
    )
