"""The gateway's life as its process sees it: start, signals, sign of readiness, drain, end."""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from gatewayd.config.problems import ConfigRefused
from gatewayd.core.errors import GatewayError
from gatewayd.daemon.dump import dump_text, task_names
from gatewayd.daemon.exits import Exit, exit_code
from gatewayd.daemon.hardstop import HardStop
from gatewayd.daemon.loophealth import LoopHealth
from gatewayd.daemon.options import Parts, RunningGateway
from gatewayd.daemon.signals import Signals
from gatewayd.service import Deadline, TaskSet

log = logging.getLogger(__name__)

STOP_MARGIN = 15.0
"""Seconds beyond the drain's own after which the process ends by force; the unit's timeout is 30 s beyond."""
CUT_MARGIN = 5.0
"""The same once a second signal has cut the drain: what was acknowledged is on disk by then, or never will be."""
FAILED_DRAIN = 2.0
"""Seconds for a drain without a store: there is nothing left that could be kept."""
LONGEST_START = 86_400.0
EXTEND_EVERY = 10.0
EXTEND_BY = 30.0
STATUS_EVERY = 5.0
MOST_WORKERS = 16
LAST_TASKS = 1.0
"""Seconds for tasks that are still there when the gateway has stopped."""


class Supervisor:
    """Runs one gateway on the running loop, to its exit code."""

    def __init__(self, gateway: RunningGateway, parts: Parts, signals: Signals, hard_stop: HardStop) -> None:
        self._gateway = gateway
        self._parts = parts
        self._signals = signals
        self._hard_stop = hard_stop
        self._health = LoopHealth(parts.clock, parts.notify)
        self._tasks = TaskSet("process", on_failure=lambda _, __: self._fail())
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._stop_signals = 0
        self._starting = Deadline(parts.clock, LONGEST_START)
        self._drain: Deadline | None = None
        self._code = Exit.OK
        self.leftovers: list[str] = []
        """Tasks that did not end; the process must not wait for them."""

    async def run(self, ready: Callable[[], None]) -> tuple[Exit, list[str]]:
        """The exit code and, for a refused start, what there is to say."""
        self._signals.attach(
            asyncio.get_running_loop(),
            {
                signal.SIGTERM: lambda: self._ask_stop("SIGTERM"),
                signal.SIGINT: lambda: self._ask_stop("SIGINT"),
                signal.SIGQUIT: lambda: self._ask_stop("SIGQUIT", cut=True),
                signal.SIGHUP: self._ask_reload,
                signal.SIGUSR1: self._dump,
            },
        )
        # Blocking work has one place, which a dump names.
        workers = ThreadPoolExecutor(MOST_WORKERS, thread_name_prefix="blocking")
        asyncio.get_running_loop().set_default_executor(workers)
        await self._health.start()
        said: list[str] = []
        try:
            if await self._start():
                ready()
                await self._serve()
        except Exception as error:  # whatever refuses a start ends here, as an exit code and a sentence
            self._code = exit_code(error)
            said = explain(error)
        await self._end()
        return self._code, said

    async def _start(self) -> bool:
        """Whether the gateway is ready; not when a signal ended the start."""
        # The loop turns once, so that a signal from before the loop counts before anything is started.
        await asyncio.sleep(0)
        helper = self._tasks.start(self._keep_extending(), name="start-up time")
        try:
            ended = await self._starting.run(self._gateway.start(), name="gateway: start")
        finally:
            helper.cancel()
        if not ended or self._stop.is_set():
            return ended and not self._stop.is_set()
        # What was made for good is not looked at by the collector again; it costs pauses and shared pages.
        gc.freeze()
        gc.enable()
        return True

    async def _serve(self) -> None:
        self._parts.notify.ready(self._gateway.status_line())
        log.info("ready", extra={"status": self._gateway.status_line()})
        self._tasks.start(self._reload_when_asked(), name="reload")
        self._tasks.start(self._watch_failure(), name="failure")
        self._tasks.start(self._tell_status(), name="status")
        await self._stop.wait()

    async def _end(self) -> None:
        """Drain and stop within the deadline, then make sure that nothing runs on."""
        failed = self._code is not Exit.OK
        seconds = min(self._gateway.drain_timeout, FAILED_DRAIN) if failed else self._gateway.drain_timeout
        self._drain = Deadline(self._parts.clock, seconds)
        self._hard_stop.arm(seconds + STOP_MARGIN, self._code, asyncio.get_running_loop())
        self._parts.notify.stopping("stopping", seconds + 2 * STOP_MARGIN)
        if self._cut_asked:
            self._cut()
        log.info("stopping", extra={"drain_seconds": round(self._drain.remaining, 3)})
        await self._tasks.close()
        try:
            await self._gateway.drain_and_stop(self._drain)
        except Exception:
            log.exception("stop_failed")
            self._code = self._code or Exit.TEMPORARY
        await self._health.stop()
        await self._clear_tasks()
        log.info("stopped", extra={"code": int(self._code)})

    async def _clear_tasks(self) -> None:
        """Cancel what is still there; what ignores it is named and left to die with the process."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            _, stuck = await asyncio.wait(others, timeout=LAST_TASKS)
            self.leftovers = task_names(stuck)
        if self.leftovers:
            log.error("tasks_left_behind", extra={"tasks": "; ".join(self.leftovers)})

    # Signals

    @property
    def _cut_asked(self) -> bool:
        return self._stop_signals > 1

    def _ask_stop(self, name: str, *, cut: bool = False) -> None:
        self._stop_signals += 2 if cut else 1
        log.info("signal", extra={"signal": name, "meaning": "stop at once" if self._cut_asked else "stop"})
        self._stop.set()
        self._starting.cut()
        if self._cut_asked:
            self._cut()

    def _cut(self) -> None:
        if self._drain is not None:
            self._drain.cut()
            self._hard_stop.shorten(CUT_MARGIN)

    def _ask_reload(self) -> None:
        if self._stop.is_set():
            log.info("signal", extra={"signal": "SIGHUP", "meaning": "ignored: stopping"})
        elif not self._reload.is_set():
            log.info("signal", extra={"signal": "SIGHUP", "meaning": "reload"})
            self._reload.set()

    def _dump(self) -> None:
        for line in dump_text(asyncio.all_tasks(), self._gateway.dump()).splitlines():
            log.info("dump", extra={"line": line})

    # Background

    def _fail(self) -> None:
        """The daemon cannot go on."""
        self._code = Exit.TEMPORARY
        self._stop.set()

    async def _reload_when_asked(self) -> None:
        """One at a time; any number of requests meanwhile are one more."""
        while True:
            await self._reload.wait()
            self._reload.clear()
            await self._gateway.reload()

    async def _watch_failure(self) -> None:
        await self._gateway.wait_failed()
        log.error("gateway_failed", extra={"meaning": "stopping, so that the supervisor starts it anew"})
        self._fail()

    async def _tell_status(self) -> None:
        told = self._gateway.status_line()
        while True:
            await self._parts.clock.sleep(STATUS_EVERY)
            if (line := self._gateway.status_line()) != told:
                told = line
                self._parts.notify.status(line)

    async def _keep_extending(self) -> None:
        """A start that migrates a large store may take longer than the unit allows, as long as the loop turns."""
        while True:
            await self._parts.clock.sleep(EXTEND_EVERY)
            self._parts.notify.extend(EXTEND_BY)


def explain(error: Exception) -> list[str]:
    """What to say to the operator; a defect of ours is logged with its traceback, a verdict is a sentence."""
    if isinstance(error, ConfigRefused):
        return error.lines()
    if isinstance(error, GatewayError):
        return [error.message]
    if isinstance(error, OSError):
        named = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        return [named or str(error)]
    log.error("start_crashed", exc_info=error)
    return [f"{type(error).__name__}: {error}"]
