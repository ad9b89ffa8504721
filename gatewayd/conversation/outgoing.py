"""What waits to be sent on one connection: answers first, then calls, then events and what is pushed, in turn."""

from collections import deque

from gatewayd.conversation.serving import Serving
from gatewayd.conversation.subscriptions import MAX_FRAME, MIN_ROOM, Subscriptions
from gatewayd.conversation.topics import ConversationTopics
from gatewayd.core.frames import Delivery, ResponseBatch
from gatewayd.core.idle import IDLE, queued
from gatewayd.wire import encode_delivery, encode_server_frame
from gatewayd.wire.nesting import is_deep

MAX_CONTROL_BYTES = 4 * 1024 * 1024
"""Answers that may wait for a reader that does not read; beyond it the connection is cut."""
FRAMING = 4
"""Bytes that a frame costs in another beside its own, at most."""


class Outgoing:
    """Owned by one conversation."""

    __slots__ = (
        "_alone",
        "_call",
        "_control",
        "_control_bytes",
        "_pushed_first",
        "_serving",
        "_subscriptions",
        "_topics",
        "delivered",
        "joined",
        "replying",
    )

    def __init__(self, serving: Serving, subscriptions: Subscriptions, topics: ConversationTopics) -> None:
        self._serving = serving
        self._subscriptions = subscriptions
        self._topics = topics
        self._control: deque[tuple[bytes, str]] = IDLE
        """Frames, each with the request whose final reply it is, if it is one."""
        self._control_bytes = 0
        self._call: bytes | None = None
        """One that found no room in the frame before."""
        self._alone = False
        """Whether the frame that was made last cannot be put into another."""
        self._pushed_first = False
        """Whether what is pushed has waited while events were sent: then it is its turn."""
        self.replying: list[str] = []
        """The requests whose final reply is on its way."""
        self.joined = 1
        """Frames in the one that was given last."""
        self.delivered = 0
        """Events that were handed to the transport."""

    def put(self, data: bytes, replying: str) -> bool:
        """Queue an answer before all data; False if too much waits, and all of it is dropped."""
        self._control = queued(self._control, (data, replying))
        self._control_bytes += len(data)
        if self._control_bytes > MAX_CONTROL_BYTES:
            self._control = IDLE
            return False
        return True

    def next(self, *, together: bool, answers_only: bool) -> bytes | None:
        """What is to be sent next; None if nothing waits. `together`: several frames in one, as there is room."""
        self.joined, self._alone = 1, False
        data = self._frame(MAX_FRAME, answers_only)
        if data is None or not together or self._alone or not self.has_more:
            return data
        return self._with_others(data, answers_only)

    @property
    def has_more(self) -> bool:
        """Whether `next` may have something."""
        return bool(
            self._control
            or self._subscriptions.ready
            or self._call
            or self._serving.have_news
            or self._topics.have_news
        )

    def _with_others(self, data: bytes, answers_only: bool) -> bytes:
        frames = [data]
        room = MAX_FRAME - len(data) - FRAMING
        while room > 0 and (more := self._frame(room, answers_only)) is not None:
            frames.append(more)
            room -= len(more) + FRAMING
        if len(frames) == 1:
            return data
        self.joined = len(frames)
        return encode_server_frame(ResponseBatch(frames))

    def _frame(self, room: int, answers_only: bool) -> bytes | None:
        """The first frame that waits, if it has no more than so many bytes. At `MAX_FRAME`, whatever it has."""
        if self._control:
            if len(self._control[0][0]) > room < MAX_FRAME:
                return None
            data, replying = self._control.popleft()
            self._control_bytes -= len(data)
            if replying:
                self.replying.append(replying)
            if not self._control:
                self._control = IDLE
            return data
        if answers_only:
            return None
        if self._call is not None or self._serving.have_news:
            return self._next_call(room)
        if room < MIN_ROOM:
            return None
        if self._pushed_first and (pushed := self._next_pushed(room)) is not None:
            return pushed
        if (frame := self._subscriptions.next_frame(room)) is not None:
            self._pushed_first = self._topics.have_news
            if isinstance(frame, Delivery):
                chunk = frame.chunk
                self.delivered += len(chunk.events)
                self._alone = is_deep(chunk)
                return encode_delivery(frame)
            return encode_server_frame(frame)
        return self._next_pushed(room)

    def _next_pushed(self, room: int) -> bytes | None:
        if not self._topics.have_news or (frame := self._topics.next_frame(room)) is None:
            return None
        self._pushed_first = False
        return encode_server_frame(frame)

    def _next_call(self, room: int) -> bytes | None:
        data, self._call = self._call, None
        if data is None:
            call = self._serving.next_frame()
            assert call is not None, "there was one"
            data = encode_server_frame(call)
        if len(data) > room < MAX_FRAME:
            data, self._call = None, data
        return data
