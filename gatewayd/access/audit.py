"""The audit trail: who did what and what was decided, appended to the store and told in the log.

Nobody waits for it: a store that cannot take a record costs that record, which is counted, and never the request.
"""

import logging
from collections.abc import Awaitable
from typing import Protocol

from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError, PermissionDenied, ServerOnlyField
from gatewayd.storage.records import AuditRecord

log = logging.getLogger(__name__)

MAX_TEXT = 500
"""Longest text of one field, in characters; the rest is cut off."""


class AuditStore(Protocol):
    """What the trail needs of the store."""

    def record_audit(self, record: AuditRecord) -> Awaitable[None]:
        """Append; see `gatewayd.storage.base.Store`."""
        ...


class Audit:
    """Writes the trail."""

    def __init__(self, store: AuditStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.lost = 0
        """Records that the store refused."""

    def record(self, *, principal: str, action: str, subject: str = "", decision: str, detail: str = "") -> None:
        """Append one fact. `decision` is `allowed`, `denied` or what was done; no field may hold a secret or a text."""
        record = AuditRecord(
            time=self._clock.now(),
            principal=principal[:MAX_TEXT],
            action=action[:MAX_TEXT],
            subject=subject[:MAX_TEXT],
            decision=decision[:MAX_TEXT],
            detail=detail[:MAX_TEXT],
        )
        fields = {
            "audit": 1,
            "principal": record.principal,
            "action": record.action,
            "subject": record.subject,
            "decision": record.decision,
            "detail": record.detail,
        }
        log.info("audit", extra=fields)
        try:
            # The unit is submitted by the call; the store itself logs it when it fails later.
            self._store.record_audit(record)
        except GatewayError as error:
            self.lost += 1
            log.warning("audit_lost", extra={"reason": error.reason, "action": record.action})

    def refused(self, principal: str, asked: str, error: GatewayError) -> None:
        """Append that a request was refused for lack of right; any other error is none of the audit's.

        `asked` is the RPC, or the kind of the frame. Where a scope is lacking, that says more: `events.publish` of
        `custom@orders`.
        """
        if not isinstance(error, PermissionDenied | ServerOnlyField):
            return
        action, _, subject = error.metadata.get("scope", "").partition(":")
        if not action:
            subject = error.metadata.get("type") or ", ".join(one.field.rpartition(".")[2] for one in error.violations)
        self.record(
            principal=principal, action=action or asked, subject=subject, decision="denied", detail=error.reason
        )
