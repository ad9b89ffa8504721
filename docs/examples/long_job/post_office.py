"""What is outside: it takes letters on a unix socket, and sends each idempotency key once, however often it is asked.

    python -m long_job.post_office SOCKET FILE

It writes into the file, a line of JSON each, what it was `asked` and what it has `sent`.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any


class PostOffice:
    """Letters in, receipts out. What it knows is in its file alone, so it may be closed and opened again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._held: str | None = None
        self._changed = asyncio.Condition()

    def entries(self, what: str) -> list[dict[str, Any]]:
        """The letters that it was `asked` to send, or has `sent`, in order."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [entry for entry in map(json.loads, lines) if entry["what"] == what]

    async def until(self, count: int, what: str = "sent") -> None:
        """Wait until it has done that so often."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.entries(what)) >= count)

    async def hold(self, words: str | None) -> None:
        """Keep the receipts of letters with these words in them; None: hand them all out."""
        async with self._changed:
            self._held = words
            self._changed.notify_all()

    @contextlib.asynccontextmanager
    async def open(self, socket: Path) -> AsyncIterator[None]:
        """Take letters."""
        socket.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, socket)
        try:
            yield
        finally:
            server.close()
            await self.hold(None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            given = json.loads(await reader.readline())
            self._note("asked", given)
            if all(entry["key"] != given["key"] for entry in self.entries("sent")):
                self._note("sent", given)
            async with self._changed:
                self._changed.notify_all()
                await self._changed.wait_for(lambda: self._held is None or self._held not in given["letter"])
            writer.write(b"receipt\n")
            await writer.drain()

    def _note(self, what: str, given: dict[str, Any]) -> None:
        with self.file.open("a") as lines:
            lines.write(json.dumps({"what": what, **given}) + "\n")


async def _main(socket: str, file: str) -> None:
    async with PostOffice(Path(file)).open(Path(socket)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(*sys.argv[1:]))
