"""The webhooks: a request that is signed becomes one durable event, and 202 is said once that is on disk.

A sender tries again until it hears a 2xx, so the id of a delivery is kept with its event in one unit of the store. What
was taken before is answered like the first time and is no second event, also after a crash between commit and answer.
"""

import asyncio
import hashlib
import logging
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from gatewayd.config.model import GatewaySection
from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError, StoreBusy, Unavailable
from gatewayd.core.event import Event
from gatewayd.core.http import HttpRequest, HttpResponse
from gatewayd.core.ids import IdSource
from gatewayd.http.server import Route
from gatewayd.http.verdicts import problem
from gatewayd.http.webhooks.judging import Refusal, judge
from gatewayd.http.webhooks.routes import Counts, Hook
from gatewayd.operations import WebhookReport
from gatewayd.storage.base import Store
from gatewayd.storage.records import Published

log = logging.getLogger("gatewayd.webhooks")

COMMIT_LIMIT = 5.0
"""Seconds that a sender waits for the disk before it is told to come again; most give up after ten."""
RETRY_AFTER = 5.0
"""Seconds after which somebody who was told to come again may, unless the store says when."""
TELL_EVERY = 60.0
"""Seconds between two lines in the log about refusals of one source."""
_LARGE = 16 * 1024
"""Bytes from which on a body is checked and read beside the loop, not on it."""
_ONCE: Final = hashlib.sha256(b"webhook delivery").digest()
"""Stands where the digest of an event's content does: the id alone says whether a delivery is the same."""


class WebhookDoor:
    """Takes what others have to tell. `use` gives it its paths, and may be called again at any time."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        ids: IdSource,
        settings: Callable[[], GatewaySection],
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._settings = settings
        self._hooks: Mapping[str, Hook] = {}
        self._under_way: dict[tuple[str, str], asyncio.Future[list[Event]]] = {}
        self._told: dict[tuple[str, str], float] = {}
        """Source and what happened → when it was told of last."""
        self.counts: dict[str, Counts] = {}
        """By source."""

    def use(self, hooks: Mapping[str, Hook]) -> None:
        """Serve these paths from now on, and no others; what is under way goes on as it began."""
        self._hooks = hooks
        names = {hook.source_id for hook in hooks.values()}
        for gone in self.counts.keys() - names:
            del self.counts[gone]
        for name in sorted(names - self.counts.keys()):
            self.counts[name] = Counts()
        self._told = {key: when for key, when in self._told.items() if key[0] in names}

    def find(self, path: str) -> Mapping[str, Route]:
        """The methods of a path; none for one that is nobody's."""
        hook = self._hooks.get(path)
        if hook is None:
            return {}
        return {method: Route(method, path, partial(self._serve, hook)) for method in hook.section.methods}

    def report(self) -> list[WebhookReport]:
        """Each of them, with its counts."""
        return [
            WebhookReport(
                source_id=hook.source_id,
                path=path,
                accepted=counts.accepted,
                duplicates=counts.duplicates,
                refused=counts.refused,
                put_off=counts.put_off,
                reason=hook.unavailable,
            )
            for path, hook in self._hooks.items()
            for counts in (self.counts[hook.source_id],)
        ]

    async def _serve(self, hook: Hook, request: HttpRequest) -> HttpResponse:
        counts = self.counts.get(hook.source_id) or Counts()  # it was taken away meanwhile
        try:
            if hook.unavailable:
                raise Unavailable("this webhook cannot be served now", retry_after=60.0)
            event = await self._judged(hook, request)
            known = await self._commit(hook.source_id, event)
        except Refusal as refusal:
            counts.refused += 1
            self._tell(hook.source_id, "webhook_refused", refusal.why, counts)
            return refusal.answer
        except GatewayError as error:
            counts.put_off += 1
            self._tell(hook.source_id, "webhook_put_off", error.message, counts)
            return _come_again(error)
        if known:
            counts.duplicates += 1
        else:
            counts.accepted += 1
        return HttpResponse(202, b'{"status":"accepted"}\n')

    async def _judged(self, hook: Hook, request: HttpRequest) -> Event:
        most = self._settings().limits.message_bytes
        work = partial(judge, hook, request, now=self._clock.now(), new_id=self._ids.new(), most=most)
        if len(request.body) < _LARGE:
            return work()
        return await asyncio.get_running_loop().run_in_executor(None, work)

    async def _commit(self, source_id: str, event: Event) -> bool:
        """Put it on disk; whether it was there before. Raises the store's error when it is not known to be there."""
        key = (source_id, event.id)
        first = self._under_way.get(key)
        last_seq = self._store.log.last_seq
        receipt = first or self._append(key, event)
        try:
            async with self._clock.timeout(COMMIT_LIMIT):
                (stamped,) = await asyncio.shield(receipt)
        except TimeoutError:
            raise StoreBusy("the disk is slow", retry_after=RETRY_AFTER) from None
        return first is not None or stamped.seq <= last_seq

    def _append(self, key: tuple[str, str], event: Event) -> asyncio.Future[list[Event]]:
        """One unit for all that come while it is under way."""
        receipt = self._store.append([Published(event, _ONCE)], scope=f"webhook:{key[0]}")
        if not receipt.done():
            self._under_way[key] = receipt
            receipt.add_done_callback(lambda _: self._under_way.pop(key, None))
        return receipt

    def _tell(self, source_id: str, what: str, why: str, counts: Counts) -> None:
        """A line in the log now and then, with the counts; never a word of what was sent."""
        now = self._clock.monotonic()
        if now - self._told.get((source_id, what), -TELL_EVERY) < TELL_EVERY:
            return
        self._told[source_id, what] = now
        log.warning(
            what,
            extra={"webhook": source_id, "why": why, "refused": counts.refused, "put_off": counts.put_off},
        )


def _come_again(error: GatewayError) -> HttpResponse:
    """503, whatever keeps us from writing it down: a sender must not take it for its own fault."""
    seconds = math.ceil(error.retry_after or RETRY_AFTER)
    return problem(503, error.reason, "it was not taken; come again", {"Retry-After": str(max(1, seconds))})
