"""The whole text so far, for one subscription that asked for it: put together here, never on the bus."""

from collections import OrderedDict
from collections.abc import Callable

from gatewayd.core.chunk import Chunk
from gatewayd.core.event import Event, EventType
from gatewayd.wire import data_of, with_snapshot

TEXTS = (EventType.LLM_TEXT_DELTA, EventType.CLIENT_OUTPUT_DELTA)
"""The types that tell a text piece by piece."""
MAX_TEXT = 64 * 1024
"""Bytes of a text that is told as a whole; one that is longer is told by its pieces alone."""
MAX_TEXTS = 64
"""Texts that one subscription follows at a time; one more gives up the one that had no piece for longest."""
FRAME_TEXTS = 160 * 1024
"""Bytes of whole texts in one frame."""
FRAME_EVENTS = 64 * 1024
"""Bytes of events in a frame that brings whole texts, too."""

_Key = tuple[EventType, str, str]


class Snapshots:
    """Of one subscription. `begun` gives the text of a running execution, for a reader that came in its middle."""

    def __init__(self, begun: Callable[[str], str]) -> None:
        self._begun = begun
        self._texts: OrderedDict[_Key, str | None] = OrderedDict()
        """None for one that is too long, or whose beginning nobody knows."""

    def fill(self, chunk: Chunk) -> Chunk:
        """The same events, the last piece of each text with the whole of it, as far as there is room."""
        last: dict[_Key, int] = {}
        for place, event in enumerate(chunk.events):
            if event.type in TEXTS:
                key = (event.type, event.execution_id, event.node_id)
                self._add(key, event)
                last[key] = place
        if not last:
            return chunk
        events, room = list(chunk.events), FRAME_TEXTS
        for key, place in last.items():
            text = self._texts.get(key)
            size = _size(text) if text else 0
            if text and size <= room:
                room -= size
                events[place] = with_snapshot(events[place], text)
        return Chunk(events)

    def _add(self, key: _Key, event: Event) -> None:
        data = data_of(event)
        content, offset = str(data["content"]), int(data["offset"])
        known = key in self._texts
        before = self._texts.pop(key, None)
        if not known and offset and event.type is EventType.LLM_TEXT_DELTA:
            before = self._begun(event.execution_id)
        whole: str | None = None
        if not offset or (before is not None and len(before) >= offset):
            whole = (before or "")[:offset] + content
        self._texts[key] = whole if whole is not None and _size(whole) <= MAX_TEXT else None
        if len(self._texts) > MAX_TEXTS:
            self._texts.popitem(last=False)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
