"""An agent type of several versions, whose instances tell what they do, for stories of its being replaced."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from engine_rig import Note, Rig, running

from gatewayd.core.agents import AgentId
from gatewayd.engine.context import MessageContext
from gatewayd.engine.engine import MessageEngine
from gatewayd.engine.handlers import HandlerAgent, message_handler
from gatewayd.engine.lane import SERIAL, Order
from gatewayd.testing.fakes import until

ONE = AgentId("a", "k")


class Scene:
    """What happened, in its order; handlers of `wait…` end when `go` is set."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.states: dict[str, bytes] = {}
        self.go = asyncio.Event()

    async def save(self, key: str, state: bytes) -> None:
        await asyncio.sleep(0)
        self.states[key] = state

    async def load(self, key: str) -> bytes | None:
        await asyncio.sleep(0)
        return self.states.get(key)

    def made(self, name: str) -> Callable[[], "Clerk"]:
        """Of the version of that name."""
        return lambda: Clerk(self, name)


class Exit(BaseException):
    """Of the agent's own."""


class Clerk(HandlerAgent):
    """Counts what it has handled. `wait` takes until the scene goes on; `ask A` asks another; `deaf` hears no end."""

    def __init__(self, scene: Scene, name: str) -> None:
        super().__init__()
        self.scene, self.name, self.count = scene, name, 0
        scene.said.append(f"make {name}")

    @message_handler
    async def on_note(self, note: Note, ctx: MessageContext) -> str:
        self.scene.said.append(f"{self.name} {note.text}")
        verb, _, rest = note.text.partition(" ")
        if verb in ("wait", "ask"):
            await self.scene.go.wait()
        while verb == "deaf" and not self.scene.go.is_set():
            try:
                await self.scene.go.wait()
            except asyncio.CancelledError:
                continue
        self.count += 1
        if verb == "ask":
            whom, _, text = rest.partition(" ")
            return str(await ctx.send(Note(text), AgentId(whom, ctx.agent.key)))
        return f"{self.name} {self.count}"

    async def save_state(self) -> Mapping[str, Any]:
        self.scene.said.append(f"save {self.name}")
        if self.name == "broken":
            raise RuntimeError("no state")
        if self.name == "cancels":
            raise asyncio.CancelledError
        if self.name == "exits":
            raise Exit
        return {"count": self.count}

    async def load_state(self, state: Mapping[str, Any], /) -> None:
        self.count = state["count"]

    async def close(self) -> None:
        self.scene.said.append(f"close {self.name}")
        if self.name == "exits":
            raise Exit
        if self.name == "slow":
            await self.scene.go.wait()
            self.scene.said.append("closed slow")


@asynccontextmanager
async def at_work(
    *texts: str, version: str = "old", order: Order = SERIAL, **options: Any
) -> AsyncIterator[tuple[Rig, Scene, list[asyncio.Task[Any]]]]:
    """An engine whose agent `a` is of that version and has been sent these; the first of them runs."""
    scene = Scene()
    async with running(state=scene, **options) as rig:
        rig.engine.register("a", scene.made(version), order=order)
        asked = [send(rig.engine, text) for text in texts]
        await until(lambda: f"{version} {texts[0]}" in scene.said)
        yield rig, scene, asked


def send(engine: MessageEngine, text: str, to: AgentId = ONE, timeout: float | None = None) -> asyncio.Task[Any]:
    return asyncio.create_task(engine.send(Note(text), to, timeout=timeout))
