"""`make chaos`: the daemon is killed again and again under load, and another process judges what is left.

    python tests/chaos/run.py [--cycles 50] [--seed 1] [--keep]

Each cycle: start, ready, at least 500 acknowledged writes, death, start again; while the next load runs the judge
decides whether anything that was promised before the crash is lost, doubled or out of order. At the end everything is
judged once more from the first event on. Exit code 0 only if nothing is broken. See `rules.py` for the promises.
"""

import argparse
import asyncio
import shutil
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from cycles import cycle
from house import DIE_WITHIN, ChaosError, House
from record import CHANNELS

from gatewayd.core.failpoints import POINTS
from gatewayd.testing.crashing import PLANTS

WRITES = 500
"""Acknowledged writes of each cycle, at least."""
WRITTEN = ("published", "accepted", "taken")
"""The counts that make it up."""
LOAD_WITHIN = 60.0
JUDGE_WITHIN = 60.0
BUDGET = 12.0
"""Seconds for one cycle, on average; a run that takes longer is stopped."""


@dataclass
class Outcome:
    """What a run came to."""

    cycles: int = 0
    acknowledged: int = 0
    recoveries: list = field(default_factory=list)
    broken: int = 0


class Run:
    """One run."""

    def __init__(self, flags, house, outcome):
        self.flags = flags
        self.house = house
        self.outcome = outcome
        self.counts = dict.fromkeys(("acknowledged", "published", "accepted", "taken"), 0)
        self.news = asyncio.Event()

    async def all(self):
        """The run; whoever ends first, the cycles or the load, ends the other."""
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self.listen())
            await self.cycles()
            listening.cancel()

    async def listen(self):
        """Keep the load's counts."""
        while "stopped" not in self.counts:
            self.counts = self.counts | await self.house.load.next(LOAD_WITHIN)
            self.news.set()

    async def until(self, condition, seconds):
        """Wait until the load's counts fulfil it."""
        async with asyncio.timeout(seconds):
            while not condition(self.counts):
                self.news.clear()
                await self.news.wait()

    async def cycles(self):
        """The cycles, then the end; stops at the first one that breaks a promise."""
        house, flags = self.house, self.flags
        before = None
        for number in range(flags.first, flags.first + flags.cycles):
            plan = cycle(flags.seed, number, flags.at)
            await house.start_daemon(f"{plan.point}:{plan.hits}" if plan.point else "")
            ready = await house.ready()
            if before is None:
                await house.judge.next(LOAD_WITHIN)
                await house.during(self.until(lambda counts: "open" in counts, LOAD_WITHIN))
            counts = self.counts
            _, good = await house.during(self.load(), self.verdict(before, ready))
            if not good:
                return
            await self.crash(plan)
            before = (plan, {name: self.counts[name] - counts[name] for name in counts if name in WRITTEN})
            await self.after(plan)
        await house.start_daemon()
        ready = await house.ready()
        await self.finish(before, ready)

    async def load(self):
        """Let the load go on until the cycle has its writes."""
        enough = self.counts["acknowledged"] + WRITES
        self.house.load.tell(f"fast {WRITES + 100}")
        await self.until(lambda counts: counts["acknowledged"] >= enough, LOAD_WITHIN)

    async def crash(self, plan):
        """Kill the daemon as planned."""
        house = self.house
        if plan.point:
            house.arm.touch()
            if not await house.die():
                raise ChaosError(f"{plan.point} was not reached {plan.hits} times within {DIE_WITHIN:g} s")
        else:
            await asyncio.sleep(plan.delay)
            await house.kill()

    async def after(self, plan):
        """Tell the judge; then perhaps kill the next daemon in its start."""
        house = self.house
        await house.judge.ask("crash", JUDGE_WITHIN)
        if plan.stumble:
            at_point = ":" in plan.stumble
            await house.start_daemon(plan.stumble if at_point else "", armed=True)
            await house.die(1.5 if at_point else float(plan.stumble))
            await house.kill()
            await house.judge.ask("crash", JUDGE_WITHIN)
        self.outcome.cycles += 1

    async def verdict(self, before, ready):
        """Have the crash before judged, now that its daemon's successor runs; whether all is well."""
        if before is None:
            return True
        self.outcome.recoveries.append(ready)
        return self.tell(*before, ready, await self.house.judge.ask("judge", JUDGE_WITHIN))

    async def finish(self, before, ready):
        """Let the load come to rest, judge the last crash and then everything, and stop in order."""
        if not await self.verdict(before, ready):
            return
        self.house.load.tell("stop")
        await self.until(lambda counts: "stopped" in counts, 2 * LOAD_WITHIN)
        answer = await self.house.judge.ask("final", 2 * JUDGE_WITHIN)
        if self.counts["unanswered"]:
            answer["broken"] += 1
            answer["violations"].insert(0, f"{self.counts['unanswered']} parts of the load never got their answers")
        self.outcome.broken += answer["broken"]
        self.outcome.acknowledged = self.counts["acknowledged"]
        seen = {**answer.get("seen", {}), "delivered": self.counts["got"]}
        print(
            f"at the end  {', '.join(f'{count} {what}' for what, count in seen.items())}  {_verdict(answer)}",
            flush=True,
        )
        await self.house.stop_daemon()

    def tell(self, plan, done, ready, answer):
        """One line for a cycle; whether it is well."""
        total = sum(done.values())
        self.outcome.acknowledged = self.counts["acknowledged"]
        self.outcome.broken += answer["broken"]
        writes = f"acked {total:4} ({done['published']} events, {done['accepted']} sends, {done['taken']} chat)"
        print(
            f"cycle {plan.number:3}  seed {self.flags.seed}  {plan.crash:<34}  {writes:<48}  ready {ready:.2f} s  "
            f"{_verdict(answer)}",
            flush=True,
        )
        return not answer["broken"]


def _verdict(answer):
    if not answer["broken"]:
        return "ok"
    return f"BROKEN ({answer['broken']})" + "".join(f"\n    {each}" for each in answer["violations"])


async def chaos(flags, folder):
    """The run; what it came to."""
    outcome = Outcome()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        async with House(folder, flags.seed, flags.plant, flags.chat or CHANNELS) as house:
            async with asyncio.timeout(60 + BUDGET * flags.cycles):
                await Run(flags, house, outcome).all()
    except* ChaosError as errors:
        outcome.broken += 1
        print(f"BROKEN: {errors.exceptions[0]}", flush=True)
    except* TimeoutError:
        outcome.broken += 1
        print("BROKEN: the run took too long", flush=True)
    except* asyncio.CancelledError:
        outcome.broken += 1
        print("interrupted", flush=True)
    return outcome


def arguments(argv):
    parser = argparse.ArgumentParser(prog="tests/chaos/run.py", description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=50, help="how many; default 50")
    parser.add_argument("--seed", type=int, default=1, help="chooses the crashes; default 1")
    parser.add_argument("--first", type=int, default=1, metavar="N", help="number of the first cycle; default 1")
    parser.add_argument("--at", action="append", choices=POINTS, default=[], help="die only at this point")
    parser.add_argument("--chat", action="append", choices=CHANNELS, default=[], help="chat only on this channel")
    parser.add_argument("--plant", choices=sorted(PLANTS), default="", help="a bug that must be found")
    parser.add_argument("--keep", action="store_true", help="leave the directory of a good run, too")
    return parser.parse_args(argv)


def main(argv=None):
    flags = arguments(argv)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    began = time.monotonic()
    outcome = Outcome(broken=1)
    try:
        outcome = asyncio.run(chaos(flags, folder))
    finally:
        if flags.keep or outcome.broken:
            print(f"everything is in {folder}")
        else:
            shutil.rmtree(folder)
    times = sorted(outcome.recoveries) or [0.0]
    print(
        f"{outcome.cycles} cycles in {time.monotonic() - began:.0f} s, {outcome.acknowledged} acknowledged writes, "
        f"ready after {times[0]:.2f} / {statistics.median(times):.2f} / {times[-1]:.2f} s (least, median, most), "
        f"{outcome.broken} violations"
    )
    if outcome.broken:
        failed = flags.first + max(0, outcome.cycles - 1)
        more = "".join(f" --at {each}" for each in flags.at) + "".join(f" --chat {each}" for each in flags.chat)
        more += f" --plant {flags.plant}" if flags.plant else ""
        print(
            f"repeat it with: .venv/bin/python tests/chaos/run.py --cycles 1 --first {failed} --seed {flags.seed}{more}"
        )
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())
