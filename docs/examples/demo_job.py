"""The long job of docs/examples/long_job, killed twice with -9 and ended once: run it with `make demo-job`.

It starts a daemon in a directory of its own, asks for five letters, kills it between two of them and in the middle of
another, and counts at the post office. It ends with 0 when everybody got one letter.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from long_job.post_office import PostOffice
from running import DEADLINE, Failed, Running

CONFIG = Path(__file__).parent / "long_job" / "gateway.yaml"
CUSTOMERS = ["Ann", "Ben", "Cid", "Dee", "Eve"]
INPUT = {"month": "May", "customers": CUSTOMERS}


class Job:
    """The daemon, the post office, and the job between them. `async with`."""

    def __init__(self, place: Path) -> None:
        self.office = PostOffice(place / "letters.jsonl")
        self._socket = place / "post.sock"
        self.daemon = Running(place, CONFIG, {"POST_OFFICE": str(self._socket)})
        self.execution = ""

    async def __aenter__(self) -> "Job":
        self._open = self.office.open(self._socket)
        await self._open.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            await (self.daemon.stop() if kind is None else self.daemon.kill())
        finally:
            await self._open.__aexit__(None, None, None)

    async def live(self, *, pause: float = 0.0) -> None:
        """Start the daemon, with so many seconds between two letters."""
        self.daemon.environ["LETTER_PAUSE"] = str(pause)
        await self.daemon.start()

    async def begin(self) -> None:
        """Ask for the letters."""
        told = await self.daemon.ctl("trigger", "letters", "--input", json.dumps(INPUT), "--output", "json")
        self.execution = json.loads(told)["execution_id"]

    async def show(self) -> dict[str, object]:
        """The execution, as `gatewayctl executions show` has it."""
        shown: dict[str, object] = json.loads(
            await self.daemon.ctl("executions", "show", self.execution, "--output", "json")
        )
        return shown

    async def kept(self, letter: int) -> None:
        """Wait until the checkpoint behind that letter is on disk."""
        async with asyncio.timeout(DEADLINE):
            while f"letter-{letter}" not in json.dumps((await self.show()).get("checkpoints", [])):
                await asyncio.sleep(0.05)

    async def ended(self) -> str:
        """Its answer. `Failed` if it did not succeed."""
        await self.daemon.ctl("executions", "watch", self.execution)
        return str((await self.show())["output"])


async def main() -> int:
    """Returns the exit code: 0 when everything worked."""
    with tempfile.TemporaryDirectory(prefix="gatewayd-job-") as place:
        try:
            async with asyncio.timeout(5 * DEADLINE), Job(Path(place)) as job:
                await play(job)
        except (Failed, TimeoutError) as failure:
            print(f"\nThe demo failed: {failure or 'it took too long'}", file=sys.stderr)
            return 1
    print("\nThe daemon drained and stopped with exit code 0. How it is made: docs/examples/long_job")
    return 0


async def play(job: Job) -> None:
    """Three lives of the daemon. `Failed` where it does not go as it should."""
    await job.live(pause=3600.0)
    await job.begin()
    say(f"Five letters are asked for, an hour between two of them: execution {job.execution}.")
    await job.kept(1)
    say("Letter 1 is sent, and the checkpoint behind it is on disk.")
    await job.daemon.kill()
    say("kill -9, between two letters.")

    await job.office.hold("Cid")
    await job.live()
    say("The daemon is there again, without the pause, and goes on by itself behind letter 1.")
    await job.office.until(3)
    say("Letter 3 is sent, but the daemon does not know: the post office is slow with the receipt.")
    await job.daemon.kill()
    say("kill -9, in the middle of a letter.")

    await job.office.hold(None)
    await job.live()
    say("The daemon is there again, and asks for letter 3 once more, under the same key.")
    answer = await job.ended()

    asked, sent = job.office.entries("asked"), job.office.entries("sent")
    print("\n" + "".join(f"  {line}\n" for line in answer.splitlines()))
    say(f"The post office was asked {len(asked)} times and has sent {len(sent)} letters:")
    for entry in sent:
        print(f"  {entry['letter']}")
    if [entry["letter"].split()[1].rstrip(",") for entry in sent] != CUSTOMERS:
        raise Failed("not everybody got one letter")
    if len(asked) != len(sent) + 1:
        raise Failed(f"the post office was asked {len(asked)} times")


def say(text: str) -> None:
    """A line for the reader."""
    print(f"— {text}", flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
