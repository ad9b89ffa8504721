"""The example for pages, run by an engine that browsers share: its client connects, asks, hears and comes back."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.rigs.house import house
from tests.rigs.websocket import http_port

EXAMPLE = Path(__file__).parents[2] / "docs" / "clients" / "browser"
CONFIG = "gateway: {http: {port: 0, websocket: true}}\nagents: {slow: {model: offline/slow}}\n"
STORY = """
import { Gateway } from "%s";
const say = (what) => console.log(JSON.stringify(what));
const sockets = [];
globalThis.WebSocket = class extends WebSocket { constructor(...given) { super(...given); sockets.push(this); } };
const gateway = new Gateway(process.argv[1], process.argv[2], "page");
const states = [];
const opened = [];
const open = () => new Promise((resolve) => opened.push(resolve));
gateway.onState = (state) => { states.push(state); if (state === "open") opened.shift()?.(); };
const first = open();
gateway.connect();
const early = gateway.send("slow", "10ms before it was open");
await first;
const heard = [];
let all;
const enough = new Promise((resolve) => (all = resolve));
const filter = { types: ["EVENT_TYPE_CUSTOM"], topic: "page.>" };
await gateway.subscribe("s", filter, (event) => { heard.push(event.custom.json.n); if (heard.length === 3) all(); });
const note = (n) => [{ type: "EVENT_TYPE_CUSTOM", customType: "note", topic: "page.x", custom: { json: { n } } }];
await gateway.publish(note(1));
const pieces = [];
const answer = await gateway.send("slow", "200ms one two three", (piece) => pieces.push(piece));
const again = open();
const late = gateway.send("slow", "1s after the cut");
await gateway.publish(note(2));
sockets[0].close(3001);
await again;
await gateway.publish(note(3));
await enough;
say({ heard, answer, early: await early, pieces: pieces.join(""), late: await late, states, sockets: sockets.length });
gateway.close();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node, whose WebSocket is that of browsers")
async def test_the_client_of_the_page_resumes(tmp_path: Path) -> None:
    """Hello, subscribe, publish, send with pieces, a cut, and nothing lost or doubled after it."""
    node = shutil.which("node") or ""
    probe = [node, "--experimental-websocket", "-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"]
    if subprocess.run(probe, check=False, capture_output=True, timeout=60).returncode:
        pytest.skip("this Node has no WebSocket")
    async with house(tmp_path, CONFIG) as rig:
        process = await asyncio.create_subprocess_exec(
            node,
            "--experimental-websocket",
            "--no-warnings",
            "--input-type=module",
            "-e",
            STORY % (EXAMPLE / "gateway.js").as_uri(),
            f"ws://127.0.0.1:{http_port(rig.daemon)}/v1/connect",
            rig.daemon.token,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(60):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, err.decode()

    said = json.loads(out)
    assert said["heard"] == [1, 2, 3]
    assert said["answer"] == said["pieces"] == "one two three"
    assert said["early"] == "before it was open"
    assert said["late"] == "after the cut"
    assert said["states"] == ["open", "lost", "open"]
    assert said["sockets"] == 2


@pytest.fixture
async def page_port() -> AsyncIterator[int]:
    """The page from a server of its own, as the README says it."""
    app = web.Application()
    app.router.add_static("/", EXAMPLE)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_the_page_names_its_gateway_itself(page_port: int) -> None:
    """I1: the address is in the page and in its policy, and nothing in the page reads one from elsewhere."""
    async with aiohttp.ClientSession() as session:
        texts = {}
        for name in ("index.html", "page.js", "gateway.js"):
            async with session.get(f"http://127.0.0.1:{page_port}/{name}") as answer:
                texts[name] = await answer.text()

    assert 'connect-src ws://127.0.0.1:8080"' in texts["index.html"]
    assert 'ADDRESS = "ws://127.0.0.1:8080/v1/connect"' in texts["page.js"]
    for script in (texts["page.js"], texts["gateway.js"]):
        assert not [word for word in ("location", "localStorage", "innerHTML", "document.cookie") if word in script]
