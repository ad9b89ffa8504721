"""Real daemon processes for tests: started, watched, signalled, and always ended."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

STANDIN = Path(__file__).with_name("standin.py")


class NotifySocket:
    """A service manager's ear."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.path = path
        self.heard = []

    def wait_for(self, text, seconds=60.0):
        """The messages up to the first that holds the text."""
        end = time.monotonic() + seconds
        while not any(text in message for message in self.heard):
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                self.heard.append(self.socket.recv(65536).decode())
            except TimeoutError:
                raise AssertionError(f"{text!r} was not said, but {self.heard}") from None
        return self.heard

    def close(self):
        self.socket.close()


class Daemon:
    """One `gatewayd` process with its own directories."""

    def __init__(self, folder, *flags, environ=None, stderr=subprocess.PIPE, program=None, config=True, **wish):
        self.folder = Path(folder)
        self.state, self.runtime = self.folder / "state", self.folder / "run"
        if config:
            (self.folder / "gateway.yaml").write_text("agents:\n  a: {model: offline/assistant}\n")
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "STATE_DIRECTORY": str(self.state),
            "RUNTIME_DIRECTORY": str(self.runtime),
            "STANDIN": json.dumps(wish),
            **(environ or {}),
        }
        program = program or [sys.executable, str(STANDIN)]
        self.process = subprocess.Popen(
            [*program, *map(str, flags)],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        self.lines = []
        self._changed = threading.Condition()
        self._reader = None
        if self.process.stderr is not None:
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    @property
    def pid(self):
        return self.process.pid

    @property
    def text(self):
        return "\n".join(self.lines)

    def wait_for(self, text, seconds=60.0, count=1):
        """The first line with the text, once there are that many."""
        end = time.monotonic() + seconds
        with self._changed:
            while sum(text in line for line in self.lines) < count:
                if not self._changed.wait(max(0.0, end - time.monotonic())) and time.monotonic() >= end:
                    raise AssertionError(f"{text!r} was not logged in {seconds} s, but:\n{self.text}")
            return next(line for line in self.lines if text in line)

    def ready(self):
        self.wait_for("INFO ready")
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=60.0):
        """The exit code."""
        code = self.process.wait(seconds)
        if self._reader is not None:
            self._reader.join(60)
        return code

    def stop(self):
        self.signal(signal.SIGTERM)
        return self.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        if self._reader is not None:
            self._reader.join(60)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
