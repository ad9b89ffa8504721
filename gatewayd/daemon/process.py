"""The process around the gateway, in the only order that works: detach, locks, log, loop, and then the heavy imports.

`main` returns the exit code. It is called by the command line and, with a factory, by tests; everything else that
touches the process (signals, limits, the standard library's logging) happens in here and nowhere else.
"""

import asyncio
import gc
import logging
import os
import sys
from contextlib import ExitStack

from gatewayd import __version__
from gatewayd.core.clock import SystemClock, SystemRandomness
from gatewayd.core.disk import SystemDisk
from gatewayd.daemon.detach import UMASK, Report, run_detached
from gatewayd.daemon.exits import Exit, exit_code
from gatewayd.daemon.hardstop import HardStop
from gatewayd.daemon.lock import AlreadyRunning, DirectoryLock, Pidfile, is_at
from gatewayd.daemon.logs import Logs
from gatewayd.daemon.machine import harden, raise_file_limit
from gatewayd.daemon.mask import Mask
from gatewayd.daemon.notify import Notifier
from gatewayd.daemon.options import GatewayFactory, Options, Parts
from gatewayd.daemon.paths import PathUnusable, prepare
from gatewayd.daemon.signals import Signals

log = logging.getLogger(__name__)

SWITCH_AFTER = 0.0005
"""Seconds for which a thread may wait for the interpreter before it is handed over.

A loop that lets go of it more often than that, at each look at its sockets, and takes it back at once, never hands it
over at all: with the default of 5 ms a busy loop kept the store's threads waiting for seconds. Much less than this, and
the two hand it to and fro: at 50 µs work with three commits took half as much of the processor again.
"""
COLLECT_AFTER = (20_000, 20, 50)
"""The collector's thresholds: a message makes hundreds of objects that die by themselves, and few cycles."""


def main(options: Options, factory: GatewayFactory | None = None) -> int:
    """Run a daemon to its end. Without a factory it is the real gateway."""
    if options.detach:
        return run_detached(options, lambda report: _run(options, factory, report))
    return _run(options, factory, lambda _, __: None)


def _run(options: Options, factory: GatewayFactory | None, report: Report) -> int:
    signals = Signals()
    signals.catch()
    os.umask(UMASK)
    sys.setswitchinterval(SWITCH_AFTER)
    clock = SystemClock()
    mask = Mask()
    # A detached daemon keeps its own log small; a file that somebody redirected to is theirs.
    own_log = options.paths.log if options.detach and is_at(2, options.paths.log) else None
    logs = Logs(mask, clock, options.environ, file=own_log)
    logs.install()
    harden()
    log.info("starting", extra={"version": __version__, "pid": os.getpid(), "files": raise_file_limit()})
    parts = Parts(clock, SystemRandomness(), SystemDisk(), Notifier(options.environ, clock), logs, mask)
    with ExitStack() as held:
        held.callback(logs.close)
        try:
            hold(options, held)
        except (AlreadyRunning, PathUnusable) as error:
            return _refused(exit_code(error), [str(error)], mask, report)
        except OSError as error:
            return _refused(Exit.STATE, [str(error)], mask, report)
        code, said, leftovers = _turn(options, factory, parts, signals, report)
        if said:
            _refused(code, said, mask, report)
        if leftovers:
            # The interpreter would wait for them, perhaps for ever.
            held.close()
            os._exit(code)
    return code


def hold(options: Options, held: ExitStack) -> None:
    """Make the directories and take the locks; they are given back when `held` ends."""
    prepare(options.paths)
    for directory in dict.fromkeys((options.paths.state, options.paths.runtime)):
        lock = DirectoryLock(directory)
        lock.acquire()
        held.callback(lock.release)
    if options.pidfile is not None:
        pidfile = Pidfile(options.pidfile)
        held.callback(pidfile.remove)
        pidfile.write()


def _turn(
    options: Options, factory: GatewayFactory | None, parts: Parts, signals: Signals, report: Report
) -> tuple[Exit, list[str], bool]:
    """Run the gateway on a fresh loop: the code, what there is to say, and whether something refused to end."""
    # Nearly all that a start makes is there to stay: looking through it again and again takes a tenth of the time.
    gc.disable()
    gc.set_threshold(*COLLECT_AFTER)
    # Only now: neither uvloop nor grpc nor a thread may exist before the process has detached.
    from gatewayd.daemon.loop import Loop  # noqa: PLC0415
    from gatewayd.daemon.supervise import Supervisor, explain  # noqa: PLC0415

    hard_stop = HardStop(parts.clock, parts.logs.flush)

    async def live() -> tuple[Exit, list[str], bool]:
        supervisor = Supervisor((factory or _real_gateway())(options, parts), parts, signals, hard_stop)
        code, said = await supervisor.run(lambda: report(Exit.OK, ""))
        return code, said, bool(supervisor.leftovers)

    runner = asyncio.Runner(loop_factory=Loop)
    try:
        ended = runner.run(live())
    except Exception as error:  # the gateway could not even be made
        ended = exit_code(error), explain(error), False
    finally:
        gc.enable()
    if not ended[2]:
        # Waits for the threads of the executor; the hard stop watches over that too.
        runner.close()
        hard_stop.disarm()
    return ended


def _real_gateway() -> GatewayFactory:
    # Its older listener reads a connection where it waits for it, the newer one hands it to a pool of threads first: a
    # quarter of each small frame (docs/adr/0019-grpc-reads-where-it-waits.md).
    os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
    # grpc writes past our log, in a form of its own; what it says there we say ourselves.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from gatewayd.daemon.gateway import Gateway  # noqa: PLC0415  # imports grpc

    return Gateway


def _refused(code: Exit, said: list[str], mask: Mask, report: Report) -> int:
    """Tell the log, and the one who waits in the foreground of a detached start."""
    for line in said:
        log.error("start_refused", extra={"reason": line, "code": int(code)})
    report(code, mask.apply("\n".join(said)))
    return code
