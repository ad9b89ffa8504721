"""The processes of one run, in one directory: the platform, the load, the judge, and one daemon after another."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from record import CHANNELS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
READY_WITHIN = 30.0
"""Seconds for a start."""
DIE_WITHIN = 20.0
"""Seconds in which an armed failpoint must be reached."""


class ChaosError(Exception):
    """The run cannot go on; the sentence is a verdict."""


class Helper:
    """A Python process that is told lines and answers with JSON lines."""

    def __init__(self, process, name):
        self.process = process
        self.name = name

    async def ask(self, command, seconds):
        """The answer to a command."""
        self.tell(command)
        return await self.next(seconds)

    def tell(self, command):
        self.process.stdin.write(f"{command}\n".encode())

    async def next(self, seconds):
        """The next line."""
        try:
            async with asyncio.timeout(seconds):
                line = await self.process.stdout.readline()
        except TimeoutError:
            raise ChaosError(f"the {self.name} said nothing for {seconds:g} s") from None
        if not line:
            raise ChaosError(f"the {self.name} has ended with {await self.process.wait()}; see {self.name}.log")
        return json.loads(line)


class House:
    """Starts and ends everything. `async with`."""

    def __init__(self, folder, seed, plant="", chats=CHANNELS):
        self.folder = Path(folder)
        self.seed = seed
        self.plant = plant
        self.chats = chats
        self.daemon = None
        self.load = None
        self.judge = None
        self._processes = []
        self._starts = 0
        self._notify = None

    @property
    def arm(self):
        """The file that arms the failpoint of the daemon that runs."""
        return self.folder / f"now-{self._starts}"

    async def __aenter__(self):
        sim = self.folder / "sim.sock"
        (self.folder / "gateway.yaml").write_text(configuration(sim))
        self._notify = NotifySocket(self.folder / "notify.sock")
        platform = await self._start("platform", "-m", "gatewayd.testing.sim_platform", "--socket", sim)
        await platform.stdout.readline()
        address = f"unix:{self.folder / 'run' / 'gatewayd.sock'}"
        record = self.folder / "record.jsonl"
        record.touch()
        load = await self._start("load", HERE / "load.py", record, address, sim, self.seed, *self.chats)
        judge = await self._start("judge", HERE / "judge.py", record, address, sim)
        self.load, self.judge = Helper(load, "load"), Helper(judge, "judge")
        return self

    async def __aexit__(self, *_):
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._notify is not None:
            self._notify.close()

    async def start_daemon(self, crash_at="", armed=False):
        """Start a daemon without waiting for it; `armed`: the failpoint counts from the start."""
        self._starts += 1
        flags = ["--plant", self.plant] if self.plant else []
        if crash_at:
            flags += ["--crash-at", crash_at, *(() if armed else ("--armed-by", self.arm))]
        self._notify.forget()
        self.daemon = await self._start(
            f"daemon-{self._starts:03}",
            *("-m", "gatewayd.testing.crashing", *flags, "--", "--config", self.folder / "gateway.yaml"),
            STATE_DIRECTORY=str(self.folder / "state"),
            RUNTIME_DIRECTORY=str(self.folder / "run"),
            NOTIFY_SOCKET=str(self._notify.path),
        )

    async def ready(self):
        """Wait until the daemon is ready; the seconds since its start."""
        began = time.monotonic()
        ended = asyncio.create_task(self.daemon.wait())
        heard = asyncio.create_task(self._notify.ready.wait())
        await asyncio.wait((ended, heard), timeout=READY_WITHIN, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        heard.cancel()
        if self.daemon.returncode is not None:
            raise ChaosError(f"the daemon did not start: exit code {self.daemon.returncode}; see {self._last}.log")
        if not self._notify.ready.is_set():
            raise ChaosError(f"the daemon was not ready within {READY_WITHIN:g} s; see {self._last}.log")
        return time.monotonic() - began

    async def during(self, *work):
        """Do it all while the daemon runs; that it ends meanwhile is an error."""
        done = asyncio.gather(*work)
        ended = asyncio.create_task(self.daemon.wait())
        try:
            await asyncio.wait((done, ended), return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                raise ChaosError(f"the daemon ended by itself with {ended.result()}; see {self._last}.log")
            return done.result()
        finally:
            done.cancel()
            ended.cancel()
            await asyncio.gather(done, ended, return_exceptions=True)

    async def die(self, seconds=DIE_WITHIN):
        """Wait until the daemon has died by SIGKILL; False when it has not in time. Any other end is an error."""
        try:
            async with asyncio.timeout(seconds):
                code = await self.daemon.wait()
        except TimeoutError:
            return False
        if code != -signal.SIGKILL:
            raise ChaosError(f"the daemon ended by itself with {code}; see {self._last}.log")
        return True

    async def kill(self):
        """`kill -9`, unless it has died already."""
        with contextlib.suppress(ProcessLookupError):
            self.daemon.kill()
        await self.die()

    async def stop_daemon(self):
        """Ask it to stop, as an operator does."""
        self.daemon.terminate()
        async with asyncio.timeout(READY_WITHIN):
            code = await self.daemon.wait()
        if code:
            raise ChaosError(f"the last stop ended with {code}; see {self._last}.log")

    @property
    def _last(self):
        return f"daemon-{self._starts:03}"

    async def _start(self, name, *arguments, **environ):
        path = os.pathsep.join((str(ROOT), str(ROOT / "proto/gen/python")))
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *map(str, arguments),
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": path, **environ},
                stdin=asyncio.subprocess.PIPE if not environ else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if not environ else log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is ours to handle
            )
        self._processes.append(process)
        return process


class NotifySocket:
    """A service manager's ear: `ready` is set by the daemon that was started last."""

    def __init__(self, path):
        self.path = path
        self.ready = asyncio.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path))
        asyncio.get_running_loop().add_reader(self._socket, self._hear)

    def forget(self):
        """A new start begins."""
        self._hear()
        self.ready.clear()

    def close(self):
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _hear(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                if b"READY=1" in self._socket.recv(65536):
                    self.ready.set()


def configuration(sim):
    """gateway.yaml: three channels that differ in what an ambiguous send means; nothing is ever swept."""
    own = {"hold": "ambiguous: hold", "resend": "ambiguous: resend", "keyed": "idempotent_send: true"}
    channels = "".join(
        f"  {name}: {{platform: sim, server: 'unix:{sim}', token: {name}-token, account: {name}-bot, {own[name]},\n"
        "    routing: {dm: echo, group: slow}, max_message_length: 80}\n"
        for name in CHANNELS
    )
    return (
        "gateway: {port: 0, session_config: {max_messages: 6}}\n"
        "agents:\n  echo: {model: offline/echo, tools: []}\n  slow: {model: offline/slow, tools: []}\n"
        f"channels:\n{channels}"
        "bus: {history: {max_events: 10000000}}\n"
    )
