"""Frames in JSON as they are read with the bound that a gateway has by default."""

from gatewayd.wire.json import request_from_json

MOST = 4 << 20


def read(text: str) -> bytes:
    return request_from_json(text, MOST)
