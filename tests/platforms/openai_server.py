"""An OpenAI-compatible server on loopback that can misbehave in every way a real one does.

It speaks the real protocol: `POST /v1/chat/completions` with server-sent events. What a request gets is, in this
order: the next script that the test queued; the scenario that the requested model is named after (`SCENARIOS`); an
echo. Requests are kept for the test to read.

    python -m tests.platforms.openai_server [--port N]      prints `listening on http://127.0.0.1:N/v1`
"""

import argparse
import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Json = dict[str, Any]


@dataclass(frozen=True)
class Chunk:
    """One event of the stream; `usage` makes it the last, without choices."""

    delta: Json = field(default_factory=dict)
    finish_reason: str | None = None
    usage: Json | None = None


@dataclass(frozen=True)
class Raw:
    """Bytes as they are."""

    content: bytes


@dataclass(frozen=True)
class Stall:
    """Send nothing more until the client goes away or the server stops."""


@dataclass(frozen=True)
class Disconnect:
    """Break the connection off in the middle of the body."""


@dataclass(frozen=True)
class Endless:
    """Chunks for ever, each with its number and this text."""

    content: str


Step = Chunk | Raw | Stall | Disconnect | Endless
DONE = Raw(b"data: [DONE]\n\n")


@dataclass(frozen=True)
class Script:
    """What one request gets. A status other than 200 sends an error object instead of the steps."""

    steps: Sequence[Step] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str = "scripted error"


def text(*pieces: str, finish_reason: str = "stop") -> Script:
    """An answer in these pieces."""
    usage = Chunk(usage={"prompt_tokens": 7, "completion_tokens": len(pieces), "total_tokens": 7 + len(pieces)})
    chunks = [Chunk({"role": "assistant", "content": ""}), *(Chunk({"content": piece}) for piece in pieces)]
    return Script([*chunks, Chunk(finish_reason=finish_reason), usage, DONE])


def tool_call(name: str, *arguments: str, finish_reason: str = "tool_calls", call_id: str = "call_abc") -> Script:
    """A call of a tool, its arguments streamed in these pieces."""
    function: Json = {"name": name, "arguments": ""}
    first = Chunk({"tool_calls": [{"index": 0, "id": call_id, "type": "function", "function": function}]})
    rest = [Chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in arguments]
    return Script([first, *rest, Chunk(finish_reason=finish_reason), DONE])


def error(status: int, message: str = "scripted error", **headers: str) -> Script:
    """An HTTP error; `retry_after="3"` becomes the header."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return Script(status=status, headers=named, error=message)


def _echo(request: Json) -> Script:
    said = next((m["content"] for m in reversed(request["messages"]) if m["role"] == "user"), "")
    said = said if isinstance(said, str) else json.dumps(said)
    words = said.split(" ")
    return text(*(word if place == 0 else f" {word}" for place, word in enumerate(words)))


def _tools(request: Json) -> Script:
    last = request["messages"][-1]
    if last["role"] == "tool":
        return text("The tool says: ", str(last["content"]))
    return tool_call("current_time", '{"timezone": ', '"Europe/Berlin"}')


def _hello() -> Chunk:
    return Chunk({"content": "Hello"})


SCENARIOS: dict[str, Callable[[Json], Script]] = {
    "echo": _echo,
    "tools": _tools,
    "reasoning": lambda _: Script(
        [Chunk({"reasoning_content": "Let me "}), Chunk({"reasoning_content": "think."}), *text("42").steps]
    ),
    "unauthorized": lambda _: error(401, "Incorrect API key provided"),
    "unknown-model": lambda _: error(404, "The model does not exist"),
    "limited": lambda _: error(429, "Rate limit reached", retry_after="3"),
    "limited-bare": lambda _: error(429, "Rate limit reached"),
    "broken": lambda _: error(500, "The server had an error"),
    "overloaded": lambda _: error(529, "Overloaded"),
    "stall-first": lambda _: Script([Stall()]),
    "stall-mid": lambda _: Script([_hello(), Stall()]),
    "truncated": lambda _: Script([_hello(), Chunk({"content": " wor"})]),
    "truncated-done": lambda _: Script([_hello(), DONE]),
    "disconnect": lambda _: Script([_hello(), Disconnect()]),
    "bad-utf8": lambda _: Script(
        [Raw(b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"ab\xff\xfecd"}}]}\n\n'), *text("!").steps]
    ),
    "bad-json": lambda _: Script([_hello(), Raw(b'data: {"id": "c", "choi\n\n'), *text("!").steps]),
    "half-surrogate": lambda _: text("a\ud800b"),
    "half-tool-call": lambda _: tool_call("current_time", '{"timezone": "Eu'),
    "truncated-tool-call": lambda _: Script(tool_call("current_time", '{"timezone": ').steps[:2]),
    "cut-tool-call": lambda _: tool_call("current_time", '{"timezone": "Eu', finish_reason="length"),
    "length": lambda _: text("A long", " answer", finish_reason="length"),
    "filtered": lambda _: text("Some", finish_reason="content_filter"),
    "huge": lambda _: text("x" * (10 * 1024 * 1024)),
    "empty": lambda _: text(),
    "endless": lambda _: Script([Endless("x" * 4096)]),
    "endless-empty": lambda _: Script([Endless("")]),
}


class OpenAIServer:
    """`async with OpenAIServer() as server:` — `server.url` is the `base_url`."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._queue: deque[Script] = deque()
        self._stopping = asyncio.Event()
        self.requests: list[Json] = []
        self.keys: list[str] = []
        self.dropped = 0
        """Requests whose client went away before the script was through."""

    def script(self, *scripts: Script) -> None:
        """What the next requests get, one script each."""
        self._queue.extend(scripts)

    async def __aenter__(self) -> "OpenAIServer":
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self.keys.append(request.headers.get("Authorization", "").removeprefix("Bearer "))
        script = self._queue.popleft() if self._queue else SCENARIOS.get(body["model"], _echo)(body)
        if script.status != 200:
            payload = {"error": {"message": script.error, "type": "scripted", "code": None}}
            return web.json_response(payload, status=script.status, headers=script.headers)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **script.headers})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            for step in script.steps:
                if not await self._play(step, body["model"], request, response):
                    break
        except asyncio.CancelledError:
            self.dropped += 1
            raise
        except ConnectionError:
            self.dropped += 1
        return response

    async def _play(self, step: Step, model: str, request: web.Request, response: web.StreamResponse) -> bool:
        match step:
            case Chunk():
                await response.write(_event(step, model))
            case Raw(content):
                await response.write(content)
            case Stall():
                await self._stopping.wait()
                return False
            case Disconnect():
                assert request.transport is not None
                await asyncio.sleep(0.02)
                request.transport.abort()
                return False
            case Endless(content):
                number = 0
                while not self._stopping.is_set():
                    number += 1
                    await response.write(_event(Chunk({"content": content and f"{number}{content}"}), model))
        return True


def _event(chunk: Chunk, model: str) -> bytes:
    body: Json = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    if chunk.usage is None:
        body["choices"] = [{"index": 0, "delta": chunk.delta, "finish_reason": chunk.finish_reason}]
    else:
        body |= {"choices": [], "usage": chunk.usage}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


async def _serve(port: int) -> None:
    async with OpenAIServer(port) as server:
        print(f"listening on {server.url}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="an OpenAI-compatible server that misbehaves on request")
    parser.add_argument("--port", type=int, default=0)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args().port))
