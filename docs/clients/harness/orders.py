"""The other publisher: the same orders as the examples publish, through the Python SDK."""

from collections.abc import Iterable
from typing import Any

from gatewayctl.client import Client, Event, new_event

PUBLISHER = "other"
FAULTY = (1, 2, 3, 3, 5, 7, 6, 8, -9, 10)
"""4 is missing, 3 comes twice, 7 before 6, and 9 (the negative one) is damaged."""
FAULTS = {"missing": 1, "doubled": 1, "disordered": 1, "damaged": 1}


def order(language: str, number: int) -> Event:
    """One order for a client to read; a negative number gives a damaged one."""
    text = f"Order № {abs(number)}: Grüße, 東京 🚀"
    number, damage = abs(number), "?" if number < 0 else ""
    lines = [{"sku": f"A-{number}", "price": number / 4, "paid": number % 2 == 0, "note": None}]
    data: dict[str, Any] = {"publisher": PUBLISHER, "number": number, "text": text + damage, "lines": lines}
    return new_event("custom", data, custom_type="order.created", topic=topic(language))


async def publish(client: Client, language: str, numbers: Iterable[int]) -> None:
    """Returns when they are on disk."""
    await client.publish([order(language, number) for number in numbers])


def topic(language: str) -> str:
    """Where the client of that language publishes and reads."""
    return f"examples.{language}.orders"
