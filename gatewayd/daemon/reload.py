"""Reload: load, diff, prepare, commit, retire; or the old configuration serves on, untouched.

One at a time; who asks while one runs waits for a fresh one. The start is the same path from no configuration at all.
An attempt is the daemon's own task: who asked may go away, and it comes to its end all the same.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gatewayd.config.diff import ConfigDiff, diff
from gatewayd.config.loader import Loaded
from gatewayd.config.model import GatewayConfig
from gatewayd.core.clock import Clock
from gatewayd.core.errors import ConfigChanged, Draining, GatewayError, ReloadFailed, RestartRequired, Violation
from gatewayd.core.event import EventType
from gatewayd.core.lifecycle import Change
from gatewayd.core.value import value
from gatewayd.operations import LastReload, ReloadReport
from gatewayd.service import TaskSet

log = logging.getLogger("gatewayd.reload")

RETIRE_LIMIT = 30.0
"""Seconds that what left may take to drain."""

Plan = Callable[[GatewayConfig | None, Loaded], Change]
"""An owner's answer to a new configuration: what it will change."""
Tell = Callable[[EventType, Mapping[str, object]], None]


@value(frozen=True, slots=True)
class Running:
    """The configuration that serves now."""

    loaded: Loaded
    last: LastReload


class Swap:
    """The simplest change: nothing to build, one assignment at the commit."""

    def __init__(self, commit: Callable[[], None]) -> None:
        self._commit = commit

    async def prepare(self) -> None:
        return None

    def commit(self) -> None:
        self._commit()

    async def retire(self) -> None:
        return None

    async def abandon(self) -> None:
        return None


class Reloader:
    """Owns the running configuration.

    `plans` are asked in order, `tell` records `config_*` events, and `begun` and `ended` frame each attempt for the
    service manager, whatever comes of it and whoever asked.
    """

    def __init__(
        self,
        *,
        load: Callable[[], Loaded],
        plans: Sequence[Plan],
        tell: Tell,
        clock: Clock,
        begun: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self._begun = begun
        self._ended = ended
        self._load = load
        self._plans = plans
        self._tell = tell
        self._clock = clock
        self._lock = asyncio.Lock()
        self._tasks = TaskSet("reload")
        self._closed = False
        self.running: Running | None = None

    @property
    def config(self) -> GatewayConfig:
        """The running configuration; only after `begin`."""
        assert self.running is not None, "asked for the configuration before there was one"
        return self.running.loaded.config

    async def begin(self, loaded: Loaded) -> None:
        """The first configuration: a reload from nothing."""
        async with self._lock:
            await self._apply(None, loaded)

    async def reload(self, *, validate_only: bool = False, expected_digest: str = "") -> ReloadReport:
        """Read the configuration again and put it in place, or raise and leave everything as it was."""
        if self._closed:
            raise Draining("the gateway is stopping and takes no other configuration")
        work = self._attempt(validate_only=validate_only, expected_digest=expected_digest)
        attempt = self._tasks.start(work, name="attempt")
        try:
            outcome: ReloadReport | GatewayError = await asyncio.shield(attempt)
        except asyncio.CancelledError:
            if self._closed and attempt.cancelled():
                raise Draining("the gateway is stopping; nothing was changed") from None
            raise
        if isinstance(outcome, GatewayError):
            raise outcome
        return outcome

    async def close(self) -> None:
        """Take no more, and end what is under way: before its commit it is undone, after it nothing is."""
        self._closed = True
        await self._tasks.close()

    async def _attempt(self, *, validate_only: bool, expected_digest: str) -> ReloadReport | GatewayError:
        """The report, or the refusal; a refusal is an outcome of this task and not its failure."""
        async with self._lock:
            running = self.running
            assert running is not None, "a reload before the start had ended"
            try:
                self._expect(running.loaded, expected_digest)
                if validate_only:
                    return self._compare(running.loaded)[1]
            except GatewayError as error:
                return error
            self._begun()
            try:
                return await self._replace(running.loaded)
            except Exception as error:  # whatever it is, the old configuration serves on, and says so
                refusal = error if isinstance(error, GatewayError) else _crashed(error)
                self._rejected(running, refusal)
                return refusal
            finally:
                self._ended()

    def _expect(self, old: Loaded, digest: str) -> None:
        """Two operators at once: the second finds another configuration than the one it looked at."""
        if digest and digest != old.digest:
            raise ConfigChanged(
                f"the running configuration is {old.digest}, not {digest}", metadata={"digest": old.digest}
            )

    def _compare(self, old: Loaded) -> tuple[Loaded, ReloadReport]:
        """Read the configuration and say in what it differs; nothing is changed."""
        loaded = self._load()
        return loaded, self._report(old, loaded, diff(old.config, loaded.config))

    async def _replace(self, old: Loaded) -> ReloadReport:
        loaded, report = self._compare(old)
        if report.restart_required:
            raise _restart_required(report.restart_required)
        if loaded.digest != old.digest:
            await self._apply(old.config, loaded)
        self.running = Running(loaded, LastReload(report.time, ok=True))
        self._accepted(report)
        return replace(report, applied=True)

    async def _apply(self, old: GatewayConfig | None, loaded: Loaded) -> None:
        """Prepare all, commit all in one turn of the loop, then retire. A failure before the commit undoes all."""
        changes = [plan(old, loaded) for plan in self._plans]
        begun: list[Change] = []
        try:
            for change in changes:
                begun.append(change)
                await change.prepare()
        except BaseException as error:
            for change in reversed(begun):
                await _quietly("abandon", change.abandon())
            if isinstance(error, GatewayError) or not isinstance(error, Exception):
                raise
            raise _crashed(error) from error
        for change in changes:
            change.commit()
        self.running = Running(loaded, LastReload(self._clock.now(), ok=True))
        for change in changes:
            await _quietly("retire", change.retire())

    def _report(self, old: Loaded, new: Loaded, difference: ConfigDiff) -> ReloadReport:
        return ReloadReport(
            applied=False,
            digest=new.digest,
            previous_digest=old.digest,
            added=tuple(one.path for one in difference.paths if one.old is None),
            removed=tuple(one.path for one in difference.paths if one.new is None),
            changed=tuple(one.path for one in difference.paths if one.old is not None and one.new is not None),
            restart_required=difference.restart_required,
            warnings=tuple(str(problem) for problem in new.warnings),
            time=self._clock.now(),
        )

    def _accepted(self, report: ReloadReport) -> None:
        changed = [*report.added, *report.removed, *report.changed]
        log.info("config_reloaded", extra={"digest": report.digest, "changed": len(changed)})
        self._tell(EventType.CONFIG_RELOADED, {"digest": report.digest, "changed": changed, "violations": []})

    def _rejected(self, running: Running, error: GatewayError) -> None:
        problems = [one.description for one in error.violations] or [error.message]
        log.error("config_rejected", extra={"reason": error.reason, "problems": problems[:20]})
        self.running = Running(running.loaded, LastReload(self._clock.now(), ok=False, error=error.message))
        self._tell(EventType.CONFIG_REJECTED, {"digest": running.loaded.digest, "changed": [], "violations": problems})


def _crashed(error: Exception) -> ReloadFailed:
    """A defect, ours or an adapter's, on the way to a new configuration."""
    log.error("reload_crashed", exc_info=error)
    return ReloadFailed(f"the new configuration could not be prepared: {type(error).__name__}: {error}")


def _restart_required(paths: Sequence[str]) -> RestartRequired:
    return RestartRequired(
        f"nothing was changed, because these need a restart: {', '.join(paths)}",
        violations=[Violation(path, "cannot change while the daemon runs") for path in paths],
    )


async def _quietly(step: str, work: object) -> None:
    """What comes after a decision cannot undo it: failures are told and passed over."""
    try:
        async with asyncio.timeout(RETIRE_LIMIT):
            await work  # type: ignore[misc]
    except Exception:
        log.exception("reload_step_failed", extra={"step": step})
