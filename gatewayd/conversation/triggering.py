"""Entry points that clients start: by a frame of their stream, or by a call; under one rule and one rate."""

from gatewayd.access.principals import Principal
from gatewayd.access.rates import Rates
from gatewayd.conversation.sends import Waiting
from gatewayd.core import work
from gatewayd.core.clock import Clock
from gatewayd.core.frames import Trigger
from gatewayd.routing.router import Caller, Router, Submitted


class Triggering:
    """Keeps nothing: two of them with the same `rates` are one."""

    def __init__(self, *, router: Router, rates: Rates, clock: Clock) -> None:
        self._router = router
        self._rates = rates
        self._clock = clock

    async def start(self, wanted: Trigger, principal: Principal) -> Submitted:
        """Have it accepted; returns at commit.

        Raises `LimitExceeded` when it is too fast (`gateway.limits.send_rate`) or too much waits, `PermissionDenied`,
        `EntryPointNotFound`, `IdConflict`, and `Draining`.
        """
        self._rates.send(principal.id)
        trigger = work.Trigger(
            entry_point=wanted.entry_point,
            text=wanted.text,
            origin=work.Origin.TRIGGER,
            principal=principal.id,
            correlation_id=wanted.correlation_id,
            idempotency_key=wanted.idempotency_key,
            given=wanted.given,
            trace=wanted.traceparent,
        )
        return await self._router.accept_trigger(trigger, Caller(principal, ""))

    async def submit(self, wanted: Trigger, principal: Principal) -> tuple[Submitted, Waiting]:
        """As `start`, for a client that waits for the reply on its stream."""
        submitted = await self.start(wanted, principal)
        deadline = self._clock.monotonic() + wanted.timeout if wanted.timeout else 0.0
        accepted = submitted.accepted
        return submitted, Waiting(
            wanted.request_id, accepted.execution_id, accepted.message_id, wanted.partial_replies, deadline
        )
