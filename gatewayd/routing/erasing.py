"""Erasure of what was said: what is to go is noted first, so that whatever cuts it off, it is found and finished.

A conversation goes as one unit of the store, what entry points were given of it as others, and what goals keep of
these as more. Until the last of them is done the note stays; `finish` goes on by it, at the start and now and then.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gatewayd.core.errors import ExecutionFinished, GatewayError, NotFound
from gatewayd.core.value import value
from gatewayd.routing.router import Router
from gatewayd.sessions import SessionManager
from gatewayd.storage.base import Store

log = logging.getLogger("gatewayd.erasure")

MARKS: Final = "erasure "
"""What the names of the notes in the store begin with; the session's id or the person follows."""
_ROUNDS = 10
"""How often it is looked for what executions have started while they came to their end."""
_BITE = 20
"""Executions that one unit erases; each looks through the log."""
_REASON = "the erasure of a conversation that led to it"


@value(frozen=True, slots=True)
class Words:
    """What is to be erased: of a session, unless it is '', and of executions without one."""

    session_id: str = ""
    execution_ids: tuple[str, ...] = ()

    def text(self) -> str:
        """For the store."""
        return json.dumps({"session": self.session_id, "executions": self.execution_ids})

    @classmethod
    def parse(cls, text: str) -> "Words":
        """What `text` has written."""
        held = json.loads(text)
        return cls(held["session"], tuple(held["executions"]))


class Erasing:
    """One at a time. `forget` takes the words of executions out of what is kept elsewhere.

    `reread` lets go of events that wait in memory to start something, for what the log holds of them now.
    """

    def __init__(
        self,
        sessions: SessionManager,
        router: Router,
        store: Store,
        *,
        forget: Callable[[Sequence[str]], Awaitable[None]],
        reread: Callable[[], Awaitable[None]],
    ) -> None:
        self._sessions = sessions
        self._router = router
        self._store = store
        self._forget = forget
        self._reread = reread
        self._lock = asyncio.Lock()

    async def erase(self, subject: str, words: Words) -> tuple[tuple[str, ...], int]:
        """All of it, ended by now; the executions without a session, and how many of their events there were.

        With what an earlier one has left: what led to that may be gone, and only its note tells of it.
        """
        async with self._lock:
            if noted := (await self._store.marks(MARKS + subject)).get(MARKS + subject):
                ids = dict.fromkeys([*Words.parse(noted).execution_ids, *words.execution_ids])
                words = Words(words.session_id, tuple(ids))
            await self._store.set_mark(MARKS + subject, words.text())
            return await self._go_over(subject, words)

    async def finish(self) -> None:
        """Go on with what was cut off. What cannot be done now stays noted, and is told in the log."""
        for mark in await self._store.marks(MARKS):
            async with self._lock:
                noted = (await self._store.marks(mark)).get(mark)
                if noted is None:
                    continue  # it was going on
                subject = mark.removeprefix(MARKS)
                try:
                    await self._go_over(subject, Words.parse(noted))
                except GatewayError as error:
                    log.warning("erasure_waits", extra={"subject": subject, "reason": error.reason})
                else:
                    log.info("erasure_finished", extra={"subject": subject})

    async def following(self, reason: str, *, session_id: str = "", principal: str = "") -> tuple[str, ...]:
        """Executions of entry points that hold words of the session or person, ended by now."""
        ids: list[str] = []
        for _ in range(_ROUNDS):
            found = await self._store.followers(session_id=session_id, principal=principal)
            more = [one for one in found if one not in ids]
            if not more:
                break
            for execution_id in more:
                try:
                    await self._router.controls.end(execution_id, reason)
                except (ExecutionFinished, NotFound):
                    continue
            ids += more  # and once more: what came to its end meanwhile may have started another
        return tuple(ids)

    async def _go_over(self, subject: str, words: Words) -> tuple[tuple[str, ...], int]:
        ids = words.execution_ids
        if words.session_id:
            await self._sessions.erase(words.session_id)
            # An entry point without room may have read the words before they went, and start with them after.
            await self._reread()
            await self._store.set_mark(MARKS + subject, words.text())  # what was on its way to the disk is there by now
            late = await self.following(_REASON, session_id=words.session_id)
            if added := tuple(one for one in late if one not in ids):
                ids += added
                await self._store.set_mark(MARKS + subject, Words(words.session_id, ids).text())
        events = 0
        for first in range(0, len(ids), _BITE):
            events += await self._store.erase_executions(ids[first : first + _BITE])
        if ids:
            await self._forget(ids)
        await self._store.forget_mark(MARKS + subject)
        return ids, events
