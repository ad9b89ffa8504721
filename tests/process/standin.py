"""A gateway of a few lines in the real process: what it does is told by the JSON in `STANDIN`.

Run as a program with the flags of `gatewayd`.
"""

import asyncio
import errno
import json
import logging
import os
import sqlite3
import sys
import time
import warnings

from gatewayd import cli
from gatewayd.config.problems import ConfigRefused, Place, problem_at
from gatewayd.core.errors import StoreCorrupt, StoreFailed
from gatewayd.core.secret import Secret
from gatewayd.daemon import process
from gatewayd.service import TaskSet

log = logging.getLogger("gatewayd.standin")

ERRORS = {
    "config": lambda: ConfigRefused([problem_at(Place("gateway.yaml", 3, 5), ("agents", "a"), "is wrong", "fix it")]),
    "address": lambda: OSError(errno.EADDRINUSE, "Address already in use"),
    "privileged": lambda: OSError(errno.EACCES, "Permission denied"),
    "state": lambda: OSError(errno.EROFS, "Read-only file system", "/state/gateway.db"),
    "corrupt": lambda: StoreCorrupt("the store is damaged at page 7"),
    "store": lambda: StoreFailed("fsync failed"),
    "bug": lambda: ZeroDivisionError("a defect"),
}


class StandIn:
    drain_timeout = 10.0

    def __init__(self, options, parts):
        self.options = options
        self.parts = parts
        self.wish = json.loads(os.environ.get("STANDIN", "{}"))
        self.drain_timeout = self.wish.get("drain_timeout", 5.0)
        self.reloads = 0
        self.failed = asyncio.Event()
        self.tasks = TaskSet("standin")

    async def start(self):
        if "start_seconds" in self.wish:
            await asyncio.sleep(self.wish["start_seconds"])
        if "start_error" in self.wish:
            raise ERRORS[self.wish["start_error"]]()
        if "log" in self.wish:
            self.parts.logs.configure(*self.wish["log"])
        if "secret" in self.wish:
            self.parts.mask.add([Secret(self.wish["secret"])])
            self._leak(self.wish["secret"])
        for line in self.wish.get("lines", []):
            log.info("said", extra={"what": line})
        if self.wish.get("stuck"):
            self.tasks.start(self._ignore_cancellation(), name="stubborn handler")
        if "block_seconds" in self.wish:
            self.tasks.start(self._block(), name="blocking")
        if "handovers" in self.wish:
            self.tasks.start(self._share(), name="sharing")
        if "fail_after" in self.wish:
            self.tasks.start(self._fail(), name="failing")
        if "flood" in self.wish:
            for number in range(self.wish["flood"]):
                log.info("flood", extra={"number": number, "padding": "x" * 1000})

    def _leak(self, secret):
        log.info("leak", extra={"plain": secret, "hex": secret.encode().hex()})
        log.warning("a message from elsewhere: %s", secret)
        warnings.warn(f"warned about {secret}", stacklevel=1)
        try:
            raise ValueError(f"bad token {secret}")
        except ValueError:
            log.exception("leak_traceback")

    async def _ignore_cancellation(self):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                log.info("cancellation_ignored")

    async def _block(self):
        await asyncio.sleep(0.5)
        time.sleep(self.wish["block_seconds"])

    async def _share(self):
        """Turns of a busy loop until a thread got the interpreter so many times, as one that reads rows does."""
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        rows = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?) SELECT x FROM n"

        def read():
            return sum(1 for _ in connection.execute(rows, (self.wish["handovers"],)))

        reading = asyncio.get_running_loop().run_in_executor(None, read)
        turns = 0
        while not reading.done():
            turns += 1
            for number in range(20_000):  # a turn in which a few readers are served: half a millisecond or so
                hash(number)
            await asyncio.sleep(0)
        log.info("shared", extra={"rows": reading.result(), "turns": turns})

    async def _fail(self):
        await asyncio.sleep(self.wish["fail_after"])
        self.failed.set()

    async def drain_and_stop(self, deadline):
        seconds = self.wish.get("drain_seconds", 0.0)
        ended = await deadline.run(asyncio.sleep(seconds), name="handlers")
        log.info("drained", extra={"ended": ended, "reloads": self.reloads})
        if "hang_in_stop" in self.wish:
            time.sleep(self.wish["hang_in_stop"])
        if not self.wish.get("stuck"):
            await self.tasks.close()

    async def reload(self):
        self.reloads += 1
        self.parts.notify.reloading()
        await asyncio.sleep(self.wish.get("reload_seconds", 0.05))
        log.info("reloaded", extra={"count": self.reloads})
        self.parts.notify.ready(self.status_line())

    async def wait_failed(self):
        await self.failed.wait()

    def dump(self):
        return {"queued": 3}

    def status_line(self):
        return f"1 of 1 channels up, {self.reloads} reloads"


if __name__ == "__main__":
    real = process.main
    # The command line's own way to the process, with this gateway in it.
    sys.exit(cli.main(run=lambda options: real(options, StandIn)))
