"""What watches a process that does not go on: the hard stop, and the health of its loop."""

import asyncio
import threading
import time

from gatewayd.core.clock import SystemClock
from gatewayd.daemon.hardstop import HardStop
from gatewayd.daemon.loophealth import LoopHealth
from gatewayd.daemon.notify import Notifier


async def test_F26_the_hard_stop_names_what_held_it_up(caplog):
    left = threading.Event()
    codes = []

    def leave(code):
        codes.append(code)
        left.set()

    stop = HardStop(SystemClock(), lambda: None, leave)
    task = asyncio.create_task(asyncio.Event().wait(), name="stubborn")
    await asyncio.sleep(0)
    stop.arm(60.0, 0, asyncio.get_running_loop())
    stop.shorten(0.1)
    assert await asyncio.to_thread(left.wait, 60)
    assert codes == [0]
    record = next(record for record in caplog.records if record.msg == "stop_forced")
    assert "stubborn at" in record.tasks
    assert "MainThread" in record.threads
    task.cancel()


async def test_a_disarmed_hard_stop_leaves_nobody():
    codes = []
    stop = HardStop(SystemClock(), lambda: None, codes.append)
    stop.arm(0.2, 0, asyncio.get_running_loop())
    stop.disarm()
    await asyncio.sleep(0.4)
    assert codes == []


class HandClock(SystemClock):
    """Time goes on by hand; a beat takes a turn or two of the loop."""

    seconds = 0.0

    def monotonic(self):
        return self.seconds

    async def sleep(self, seconds):
        await asyncio.sleep(0.001)


async def turned(holds):
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


async def test_F27_loop_lag_is_measured_and_liveness_follows_it(caplog):
    clock = HandClock()
    health = LoopHealth(clock, Notifier({}, clock))
    await health.start()
    for _ in range(2):
        await asyncio.sleep(0)  # the beat waits now
    clock.seconds = 1.0
    await turned(lambda: health.worst_lag)
    assert health.alive()
    assert (health.worst_lag, health.blocked) == (0.75, 0)
    clock.seconds += 10.0
    assert not health.alive()
    for _ in range(600):
        time.sleep(0.1)  # this is the blocking that is measured
        if "loop_blocked" in caplog.text:
            break
    assert (health.alive(), health.blocked) == (False, 1)
    await turned(lambda: "loop_freed" in caplog.text)
    assert health.alive()
    assert health.worst_lag == 9.75
    assert health.blocked == 1
    await health.stop()
