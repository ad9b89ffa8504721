"""Agents that talk to each other, as a module that a configuration names, and a way to await what they did."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from gatewayd.agents.base import AgentContext, Output, TextOutput, ToolCompleted, ToolStarted, Turn
from gatewayd.engine import AgentId, HandlerAgent, MessageContext, TopicId, message_handler


class Scene:
    """What happened; one for each test."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.made: Counter[str] = Counter()
        self.running = 0
        self.most = 0
        self.go = asyncio.Event()
        self.changed = asyncio.Event()

    def say(self, what: str) -> None:
        self.said.append(what)
        self.changed.set()

    async def until(self, count: int) -> list[str]:
        """What was said, once there is so much of it."""
        async with asyncio.timeout(60):
            while len(self.said) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.said


scene = Scene()


def renew() -> Scene:
    """A new scene, which all agents play in from now on."""
    global scene  # noqa: PLW0603 - the module is what configurations name
    scene = Scene()
    return scene


@dataclass
class Order:
    """A message with a type of its own."""

    number: int


class Speaker:
    """Does what it is told: `send AGENT[/KEY] TEXT`, `publish TOPIC TEXT`, `many AGENT COUNT`."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        verb, _, rest = turn.text.partition(" ")
        whom, _, text = rest.partition(" ")
        if verb == "send":
            agent, _, key = whom.partition("/")
            yield TextOutput(str(await ctx.send(agent, text, key=key or "default")))
        elif verb == "publish":
            yield TextOutput(str(await ctx.publish(whom, text)))
        elif verb == "many":
            replies = await asyncio.gather(*(ctx.send(whom, f"{number}") for number in range(int(text))))
            yield TextOutput(str(len(set(replies))))
        else:
            scene.say(f"{self.name} {turn.topic} {turn.sender} {turn.text}")
            yield TextOutput(f"{self.name} heard {turn.text}")


class Worker:
    """Calls a tool for each message, which ends when the scene says go; and says in which scope it does."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        yield ToolStarted("call-1", "pay", {"to": turn.text})
        scene.say(f"{self.name} {turn.text} {turn.call_scope}")
        await scene.go.wait()
        yield ToolCompleted("call-1", "pay", "paid", is_error=False)
        yield TextOutput("paid")


class Announcer:
    """Tells itself of a tool that it calls, and ends when the scene says go."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        ctx.emit_tool_call_started("call-0", "look", {})
        ctx.emit_tool_call_completed("call-0", "look", "seen", is_error=False)
        ctx.emit_tool_call_started("call-1", "pay", {})
        scene.say(turn.text)
        await scene.go.wait()
        yield TextOutput("paid")


class Stages:
    """Has a worker pay twice in each of two stages, with a checkpoint between them."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        stage = ctx.resumed["stage"] if ctx.resumed else 0
        for number in range(stage, 2):
            for _ in range(2):
                await ctx.send("worker", "ann")
            await ctx.checkpoint({"stage": number + 1}, node_id=f"stage{number}")
        await ctx.publish("paid", "ann")
        yield TextOutput("all paid")


class Clerk(HandlerAgent):
    """Counts what it is told."""

    def __init__(self) -> None:
        super().__init__()
        scene.made[str(self.id)] += 1
        self.count = 0

    @message_handler
    async def on_text(self, text: str, ctx: MessageContext) -> str:
        self.count += 1
        scene.say(f"{self.id} {ctx.topic or ''} {ctx.sender or ''} {text}")
        if text == "fail":
            raise RuntimeError("secret inside")
        return f"{self.id} {self.count} {text}"

    @message_handler
    async def on_order(self, order: Order, ctx: MessageContext) -> str:
        scene.say(f"{self.id} order {order.number}")
        return f"order {order.number}"

    async def save_state(self) -> Mapping[str, Any]:
        return {"count": self.count} if self.count else {}

    async def load_state(self, state: Mapping[str, Any], /) -> None:
        self.count = state["count"]


class Keeper(Clerk):
    """Gives and takes its state when the scene says go."""

    async def save_state(self) -> Mapping[str, Any]:
        scene.say(f"{self.id} gives")
        await scene.go.wait()
        return await super().save_state()

    async def load_state(self, state: Mapping[str, Any], /) -> None:
        scene.say(f"{self.id} takes")
        await scene.go.wait()
        await super().load_state(state)


class Slow(HandlerAgent):
    """Handles nothing to its end before the scene says go."""

    @message_handler
    async def on_text(self, text: str, ctx: MessageContext) -> str:
        scene.running += 1
        scene.most = max(scene.most, scene.running)
        scene.say(f"begin {text}")
        try:
            await scene.go.wait()
        finally:
            scene.running -= 1
        scene.say(f"end {text}")
        return text


class Version(HandlerAgent):
    """Says which version of itself it is, and what it has counted; `wait` takes until the scene says go."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.name: str = options["name"]
        self.count = 0
        scene.made[self.name] += 1

    @message_handler
    async def on_text(self, text: str, ctx: MessageContext) -> str:
        scene.say(f"{self.name} {text}")
        if text == "wait":
            await scene.go.wait()
        self.count += 1
        return f"{self.name} {self.count} {text}"

    async def save_state(self) -> Mapping[str, Any]:
        return {"count": self.count}

    async def load_state(self, state: Mapping[str, Any], /) -> None:
        self.count = state["count"]

    async def close(self) -> None:
        scene.say(f"{self.name} closes")


class Chain(HandlerAgent):
    """Asks the agent of its options what it is asked."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.next: str = options["next"]

    @message_handler
    async def on_text(self, text: str, ctx: MessageContext) -> str:
        return str(await ctx.send(text, AgentId(self.next)))


class Relay(HandlerAgent):
    """Publishes one word on `end` for each that it hears on `begin`."""

    topics = ("begin",)

    @message_handler
    async def on_text(self, text: str, ctx: MessageContext) -> None:
        await ctx.publish(f"{self.id.type} {text}", TopicId("end"))


class Bounce(HandlerAgent):
    """Publishes what it hears on the topic of its options."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.says: str = options["says"]

    @message_handler
    async def on_text(self, text: str, ctx: MessageContext) -> None:
        scene.say(text)
        await ctx.publish(text, TopicId(self.says))


def _another() -> type:
    @dataclass
    class Order:
        name: str

    return Order


_Order = _another()


class Double(HandlerAgent):
    """Its messages have the name of others."""

    @message_handler
    async def on_order(self, order: _Order, ctx: MessageContext) -> None:  # type: ignore[valid-type]
        scene.say("never")

    @message_handler
    async def on_text(self, text: str, ctx: MessageContext) -> None:
        scene.say("never")


@dataclass
class Stock:
    """A reply with a type that nobody handles."""

    number: int
    left: list[str]


class Teller(HandlerAgent):
    """Answers with an object."""

    @message_handler
    async def on_text(self, text: str, ctx: MessageContext) -> Stock:
        return Stock(int(text), ["a", "b"])
