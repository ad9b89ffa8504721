"""Senders of webhooks: signatures made here by hand, not with what is to be proved."""

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
from gateway.v1 import event_pb2
from google.protobuf.json_format import MessageToDict

from tests.rigs.process import Daemon
from tests.rigs.websocket import http_port

KEY = bytes(range(32))
WHSEC = "whsec_" + base64.b64encode(KEY).decode()
"""A secret of the Standard Webhooks scheme."""
SECRET = "correct horse battery staple"


def hmac_sha256(key: bytes, content: bytes) -> bytes:
    """RFC 2104, word for word."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + content).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


def github(body: bytes, delivery: str = "", secret: str = SECRET) -> dict[str, str]:
    """The headers with which GitHub sends that body."""
    headers = {"X-Hub-Signature-256": "sha256=" + hmac_sha256(secret.encode(), body).hex()}
    return headers | ({"X-GitHub-Delivery": delivery} if delivery else {})


def standard(body: bytes, delivery: str, key: bytes = KEY, *, at: float | None = None) -> dict[str, str]:
    """The headers of Standard Webhooks; `at`: when it says that it was sent."""
    signed = str(int(time.time() if at is None else at))
    mac = hmac_sha256(key, f"{delivery}.{signed}.".encode() + body)
    signature = "v1," + base64.b64encode(mac).decode()
    return {"webhook-id": delivery, "webhook-timestamp": signed, "webhook-signature": signature}


class Sender:
    """One sender, which may try again. `async with`."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60))

    async def __aenter__(self) -> "Sender":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(
        self, path: str, body: bytes, headers: Mapping[str, str], *, method: str = "POST"
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, what was said, and the answer's headers."""
        url = f"http://127.0.0.1:{http_port(self._daemon)}{path}"
        async with self._session.request(
            method, url, data=body, headers={"Content-Type": "application/json", **headers}
        ) as answer:
            return answer.status, json.loads(await answer.read()), answer.headers

    async def status(self, path: str, body: bytes, headers: Mapping[str, str], *, method: str = "POST") -> int:
        """Only the status."""
        return (await self.send(path, body, headers, method=method))[0]


def told(event: event_pb2.Event) -> dict[str, Any]:
    """The data of a webhook's event, as JSON has it."""
    return MessageToDict(event.webhook_received, preserving_proto_field_name=True)
