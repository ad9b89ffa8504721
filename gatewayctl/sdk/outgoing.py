"""Frames on their way to the transport: what waits for it goes out together, where the daemon takes that.

A frame costs much, and a request in it little. Whatever is ready in one turn of the loop, or while the frame before is
written, makes one batch; nothing is held back for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from gateway.v1 import event_service_pb2 as pb

MAX_WAITING = 64
"""Frames that may wait where they go out one by one; one more waits in its caller."""
MAX_TOGETHER = 1000
"""Requests in a batch, by the contract; as many may wait where they go out in batches."""
MAX_WAITING_BYTES = 8 << 20
"""Bytes that may wait, in both ways; while less does, one more frame may, whatever its size: a large one is not
overtaken for ever."""
MAX_BYTES = 256 << 10
"""Bytes in a batch; a larger frame goes by itself."""
FRAMING = 6
"""Bytes that a request costs in a batch beside its own, at most."""


_Waiting = tuple[pb.ConnectRequest, int, "asyncio.Future[Any] | None"]
"""A frame, its size, and the future of its answer."""


class Outgoing:
    """Of one link. `run` is the only one that writes."""

    def __init__(
        self,
        stream: Any,
        *,
        together: bool,
        most: int,
        left_out: Callable[[pb.ConnectRequest], None] = lambda _frame: None,
    ) -> None:
        """`together`: whether the daemon takes batches; `most`: the bytes of its largest frame.

        `left_out` is told of each frame that was taken back before it was sent.
        """
        self._left_out = left_out
        self._stream = stream
        self._together = together
        self._most_waiting = MAX_TOGETHER if together else MAX_WAITING
        self._most_bytes = min(MAX_BYTES, most)
        self._frames: deque[_Waiting] = deque()
        self._bytes = 0
        """Of the frames that wait; those that go by themselves are counted by who makes them."""
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False
        self._finishing = False

    async def room(self) -> None:
        """Wait while too much waits; at once when it is closed."""
        while (len(self._frames) >= self._most_waiting or self._bytes >= MAX_WAITING_BYTES) and not self._closed:
            self._room.clear()
            await self._room.wait()

    def put(self, frame: pb.ConnectRequest, size: int, answer: asyncio.Future[Any] | None = None) -> None:
        """Send it soon, unless the `answer` is cancelled by then; `size` in bytes, 0 for one that goes by itself."""
        self._frames.append((frame, size, answer))
        self._bytes += size
        self._work.set()

    def finish(self) -> None:
        """Nothing more will come."""
        self._finishing = True
        self._work.set()

    def close(self) -> None:
        """Nothing more is sent, and nobody has to wait."""
        self._closed = True
        self._room.set()

    async def run(self) -> None:
        """Write for as long as there is something to write; raises what the stream does."""
        while True:
            while self._wanted():
                frame = self._next()
                self._room.set()
                await self._stream.write(frame)
            if self._finishing:
                await self._stream.done_writing()
                return
            self._work.clear()
            await self._work.wait()

    def _next(self) -> pb.ConnectRequest:
        """The frame that waits longest, with those behind it, as far as they go together."""
        frames = self._frames
        first, size = self._pop()
        if not self._together or not size or not frames:
            return first
        room = self._most_bytes - size - FRAMING
        gathered = [first]
        while (
            self._wanted()
            and frames[0][1]
            and (room := room - frames[0][1] - FRAMING) >= 0
            and len(gathered) < MAX_TOGETHER
        ):
            gathered.append(self._pop()[0])
        return first if len(gathered) == 1 else pb.ConnectRequest(batch=pb.RequestBatch(requests=gathered))

    def _wanted(self) -> bool:
        """Whether a frame waits that somebody still wants; it is the first then."""
        while self._frames and (answer := self._frames[0][2]) is not None and answer.cancelled():
            self._left_out(self._pop()[0])
            self._room.set()
        return bool(self._frames)

    def _pop(self) -> tuple[pb.ConnectRequest, int]:
        frame, size, _ = self._frames.popleft()
        self._bytes -= size
        return frame, size
