"""AutoGen's single-threaded runtime, and agentopera's engine, which descends from it and is spoken to alike.

python -m bench.inprocess.autogen_arm autogen_core | agentopera.core
"""

import importlib
import sys
from dataclasses import dataclass
from typing import Any

from bench.inprocess.arm import AGENTS, EngineArm, main

library: Any = importlib.import_module(sys.argv[1])


@dataclass
class Ask:
    number: int


@dataclass
class Told:
    number: int


class Echo(library.RoutedAgent):
    """Answers."""

    def __init__(self) -> None:
        super().__init__("echo")

    @library.message_handler
    async def on_ask(self, message: Ask, ctx: library.MessageContext) -> Told:  # noqa: ARG002
        return Told(message.number)


class Peer(EngineArm):
    """See `EngineArm`."""

    async def start(self) -> None:
        engine = getattr(library, "LocalAgentEngine", None) or library.SingleThreadedAgentRuntime
        self._engine = engine()
        arm = self

        class Listener(library.RoutedAgent):
            """Counts."""

            def __init__(self) -> None:
                super().__init__("listener")

            @library.message_handler
            async def on_told(self, message: Told, ctx: library.MessageContext) -> None:  # noqa: ARG002
                arm.heard += 1

        await Echo.register(self._engine, "echo", Echo)
        for number in range(AGENTS):
            name = f"listener{number}"
            await Listener.register(self._engine, name, Listener)
            await self._engine.add_subscription(library.TypeSubscription("news", name))
        self._engine.start()
        self._echo, self._news = library.AgentId("echo", "default"), library.TopicId("news", "default")
        await self.send(0)
        await self.publish(0)

    async def send(self, number: int) -> int:
        answer: Told = await self._engine.send_message(Ask(number), self._echo)
        return answer.number

    async def publish(self, number: int) -> None:
        await self._engine.publish_message(Told(number), self._news)

    async def stop(self) -> None:
        await self._engine.stop()


if __name__ == "__main__":
    main(Peer())
