"""When groups hand out what they have gathered: in turns, so that many readers do not hold up the loop at once."""

import asyncio
import logging
from collections.abc import Iterable

from gatewayd.bus.group import Group
from gatewayd.bus.pacer import Pacer
from gatewayd.core.clock import Clock

log = logging.getLogger("gatewayd.bus")


class Turns:
    """One per bus."""

    def __init__(self, clock: Clock, share: int) -> None:
        """`share`: readers that have their turn together."""
        self._share = share
        self._dirty: dict[Group, None] = {}
        """Those that have something to hand out, in the order of their turns."""
        self._prompt: list[Group] = []
        """The same of those that are handed out at once."""
        self._pacer = Pacer(self._take, clock)

    def soon(self, group: Group) -> None:
        """It has something to hand out, when it is its turn."""
        self._dirty[group] = None
        self._pacer.due()

    def at_once(self, group: Group) -> None:
        """It has something to hand out at the end of this turn of the loop."""
        if not self._prompt:
            asyncio.get_running_loop().call_soon(self._flush_prompt)
        self._prompt.append(group)

    def flush(self) -> None:
        """Have all hand out what they have gathered."""
        self._flush_prompt()
        groups, self._dirty = self._dirty, {}
        _hand_out(groups)

    def _flush_prompt(self) -> None:
        groups, self._prompt = self._prompt, []
        _hand_out(groups)

    def _take(self) -> bool:
        """Hand out to the next readers, about as many as are in a full group; whether others wait for their turn."""
        groups: list[Group] = []
        readers = 0
        while self._dirty and readers < self._share:
            group = next(iter(self._dirty))
            del self._dirty[group]
            groups.append(group)
            readers += len(group)
        _hand_out(groups)
        return bool(self._dirty)


def _hand_out(groups: Iterable[Group]) -> None:
    for group in groups:
        try:
            group.flush()
        except Exception:  # the boundary of one filter: what goes wrong with its readers is not the others'
            log.exception("handing_out_failed")
