"""The other side: a shop that sends its tickets as signed webhooks (https://www.standardwebhooks.com).

By hand, with DESK_SECRET as the desk has it:

    python -m desk.shop '{"ticket": 1, "customer": "Ann", "order": "17", "text": "Where is my parcel?"}'
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping
from typing import Any

import aiohttp


def new_secret() -> str:
    """One for DESK_SECRET."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


class Shop:
    """Sends to one desk. The id of a delivery is the ticket's: sent twice, it is one."""

    def __init__(self, port: int, secret: str) -> None:
        self._url = f"http://127.0.0.1:{port}/hooks/shop"
        self._key = base64.b64decode(secret.removeprefix("whsec_"))

    async def send(self, ticket: Mapping[str, Any]) -> int:
        """Send one; the status that was answered: 202 once it is on disk, 401 for a wrong signature."""
        body = json.dumps(ticket, ensure_ascii=False).encode()
        delivery, sent = f"ticket-{ticket['ticket']}", str(int(time.time()))
        mac = hmac.new(self._key, f"{delivery}.{sent}.".encode() + body, hashlib.sha256).digest()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": delivery,
            "webhook-timestamp": sent,
            "webhook-signature": "v1," + base64.b64encode(mac).decode(),
        }
        timeout = aiohttp.ClientTimeout(30)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(self._url, data=body, headers=headers) as answer,
        ):
            return answer.status


if __name__ == "__main__":
    port, secret = int(os.environ.get("DESK_HTTP_PORT", "8080")), os.environ["DESK_SECRET"]
    print(asyncio.run(Shop(port, secret).send(json.loads(sys.argv[1]))))
