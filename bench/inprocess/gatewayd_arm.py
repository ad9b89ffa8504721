"""gatewayd's message engine, as a daemon without an observer would run it."""

from dataclasses import dataclass

from bench.inprocess.arm import AGENTS, EngineArm, main
from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.clock import SystemClock, SystemRandomness
from gatewayd.core.ids import IdSource
from gatewayd.engine.context import MessageContext
from gatewayd.engine.engine import MessageEngine
from gatewayd.engine.handlers import HandlerAgent, message_handler
from gatewayd.engine.subscriptions import Subscription


@dataclass
class Ask:
    number: int


@dataclass
class Told:
    number: int


class Echo(HandlerAgent):
    """Answers."""

    @message_handler
    async def on_ask(self, message: Ask, ctx: MessageContext) -> Told:  # noqa: ARG002
        return Told(message.number)


class Gatewayd(EngineArm):
    """See `EngineArm`."""

    async def start(self) -> None:
        clock = SystemClock()
        self._engine = MessageEngine(clock=clock, ids=IdSource(clock, SystemRandomness()))
        arm = self

        class Listener(HandlerAgent):
            """Counts."""

            @message_handler
            async def on_told(self, message: Told, ctx: MessageContext) -> None:  # noqa: ARG002
                arm.heard += 1

        self._engine.register("echo", Echo)
        for number in range(AGENTS):
            name = f"listener{number}"
            self._engine.register(name, Listener, subscriptions=[Subscription("news", name)])
        await self._engine.start()
        self._echo, self._news = AgentId("echo", "default"), TopicId("news", "default")
        await self.send(0)
        await self.publish(0)

    async def send(self, number: int) -> int:
        answer: Told = await self._engine.send(Ask(number), self._echo)
        return answer.number

    async def publish(self, number: int) -> None:
        await self._engine.publish(Told(number), self._news)

    async def stop(self) -> None:
        await self._engine.stop()


if __name__ == "__main__":
    main(Gatewayd())
