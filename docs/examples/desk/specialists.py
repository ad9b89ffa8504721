"""Those who know. They hear the topics that gateway.yaml gives them, and know nothing of the board or each other."""

from collections.abc import Mapping
from typing import Any

from desk.tickets import Finding, Ticket
from gatewayd.engine import HandlerAgent, MessageContext, TopicId, message_handler


class Specialist(HandlerAgent):
    """Publishes what it finds where the ticket came from."""

    async def tell(self, says: str, ctx: MessageContext, refund: float = 0.0) -> None:
        await ctx.publish(Finding(self.id.type, says, refund), TopicId("findings", self.id.key))


class Billing(Specialist):
    """Knows what was paid for which order."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.paid: Mapping[str, float] = options["paid"]

    @message_handler
    async def on_ticket(self, ticket: Ticket, ctx: MessageContext) -> None:
        paid = self.paid.get(ticket.order, 0.0)
        says = f"You paid {paid:.2f} € for order {ticket.order}." if paid else "We find no payment of yours."
        await self.tell(says, ctx, paid)


class Shipping(Specialist):
    """Knows where the parcels are."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.parcels: Mapping[str, str] = options["parcels"]

    @message_handler
    async def on_ticket(self, ticket: Ticket, ctx: MessageContext) -> None:
        where = self.parcels.get(ticket.order)
        await self.tell(f"About your parcel: {where}." if where else "We find no parcel of yours.", ctx)
