"""PraisonAI's gateway in its own environment, and clients of its WebSocket."""

import asyncio
import json
import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.load import ANSWER, Ask
from bench.processes import ROOT, Running, WrongAnswer, end, environment, free_port

PYTHON = ROOT / ".build/peers/praisonai/bin/python"
SERVER = ROOT / "bench/peers/praisonai_server.py"
START = 60.0
"""Seconds that it may take to start."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The gateway, while it runs."""

    running: Running
    session: aiohttp.ClientSession
    url: str

    @asynccontextmanager
    async def chat(self, _name: str) -> AsyncIterator[Ask]:
        """One connection that has joined a session with the agent."""
        async with self.session.ws_connect(self.url) as socket:
            await socket.send_str(json.dumps({"type": "join", "agent_id": "echo"}))
            joined = await socket.receive_json(timeout=ANSWER)
            if joined.get("type") != "joined":
                raise WrongAnswer(f"join was answered with {joined}")

            async def ask(text: str) -> str:
                await socket.send_str(json.dumps({"type": "message", "content": text}))
                while True:
                    frame = await socket.receive_json()
                    # The gateway says first that it has begun.
                    if frame.get("type") == "response" and frame.get("content") != "Started processing.":
                        return str(frame["content"])

            yield ask


def installed() -> str:
    """Its version; '' when `make bench-peers` has not made its environment."""
    if not PYTHON.exists():
        return ""
    ask = "from importlib.metadata import version as v; print('praisonai', v('praisonai'), 'uvicorn', v('uvicorn'))"
    found = subprocess.run([str(PYTHON), "-c", ask], capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else ""


@asynccontextmanager
async def serve(home: Path) -> AsyncIterator[Peer]:
    """Start it, and end it by its pid."""
    port, token = free_port(), secrets.token_hex(16)
    log = home / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(PYTHON), str(SERVER), "--port", str(port), "--token", token],
            env=environment(home),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
        try:
            await _listening(process, log)
            async with aiohttp.ClientSession() as session:
                yield Peer(Running(process, home, 0.0), session, f"ws://127.0.0.1:{port}/ws?token={token}")
        finally:
            await asyncio.to_thread(end, process)


async def _listening(process: "subprocess.Popen[bytes]", log: Path) -> None:
    async with asyncio.timeout(START):
        while '"port"' not in log.read_text():
            if process.poll() is not None:
                raise WrongAnswer(f"PraisonAI's gateway ended with {process.returncode}:\n{log.read_text()[-2000:]}")
            await asyncio.sleep(0.05)
