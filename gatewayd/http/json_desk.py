"""Frames in JSON, for all WebSockets of one door: what is large is read and written beside the loop.

To read a large one takes the processor a second or two, in Python, for which every thread has to have the interpreter.
So there is one thread that reads and one that writes: whoever sends large frames waits for others who do, and never
takes more than its thread's share from the loop, nor anything from what is written to others.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from gatewayd.wire.json import request_from_json, response_to_json

_LARGE = 16 * 1024
"""Characters or bytes from which on it is done beside the loop."""
_In = TypeVar("_In", str, bytes)
_Out = TypeVar("_Out", str, bytes)


class JsonDesk:
    """`most` is the size that a frame from a client may have as protobuf, in bytes."""

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._reading = ThreadPoolExecutor(1, "json-reading")  # a thread begins when it has something to do
        self._writing = ThreadPoolExecutor(1, "json-writing")

    async def read(self, text: str) -> bytes:
        """See `request_from_json`."""
        return await _done(self._reading, partial(request_from_json, most=self._most()), text)

    async def write(self, data: bytes) -> str:
        """See `response_to_json`."""
        return await _done(self._writing, response_to_json, data)


async def _done(executor: Executor, convert: Callable[[_In], _Out], data: _In) -> _Out:
    if len(data) < _LARGE:
        return convert(data)
    return await asyncio.get_running_loop().run_in_executor(executor, convert, data)
