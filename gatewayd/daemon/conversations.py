"""The part of the composition that clients talk to: who is there, what they publish and send, and the hub of all."""

from collections.abc import Callable

from gatewayd.access.principals import LostProof
from gatewayd.access.rates import Rates
from gatewayd.agents.registry import AgentRegistry
from gatewayd.bus.base import EventBus
from gatewayd.config.model import GatewayConfig
from gatewayd.conversation.agent_mail import AgentMail
from gatewayd.conversation.controlling import Controlling
from gatewayd.conversation.directory import Directory
from gatewayd.conversation.doors import Doors
from gatewayd.conversation.hub import ConversationHub
from gatewayd.conversation.publishing import Publishing
from gatewayd.conversation.sends import Sends
from gatewayd.conversation.speaking import Speaking
from gatewayd.conversation.triggering import Triggering
from gatewayd.core.clock import Clock, Randomness
from gatewayd.core.errors import GatewayError
from gatewayd.core.ids import IdSource
from gatewayd.engine.engine import MessageEngine
from gatewayd.push.service import Push
from gatewayd.routing.router import Router
from gatewayd.sessions import SessionManager
from gatewayd.storage.base import Store


class Conversations:
    """Made by `Assembly`, which has the parts that it joins."""

    def __init__(
        self,
        *,
        store: Store,
        bus: EventBus,
        clock: Clock,
        randomness: Randomness,
        ids: IdSource,
        agents: AgentRegistry,
        sessions: SessionManager,
        router: Router,
        engine: MessageEngine,
        config: Callable[[], GatewayConfig],
        refused: Callable[[str, str, GatewayError], None],
    ) -> None:
        def queue_bytes() -> int:
            return config().gateway.limits.queue_bytes

        mail = AgentMail(
            clock,
            is_remote=agents.is_remote,
            kept=lambda: config().gateway.reconnect_timeout,
            queue_bytes=queue_bytes,
        )
        self.directory = Directory(clock, mail, is_agent=agents.knows, queue_bytes=queue_bytes)
        self.publishing = Publishing(
            store=store,
            bus=bus,
            clock=clock,
            ids=ids,
            addressing=self.directory,
            assignments=agents.workers,
            execution=lambda id_: live.execution if (live := router.runtime.live(id_)) is not None else None,
            owner_of=sessions.owner_of,
        )
        self.sends = Sends(router=router, store=store, clock=clock)
        self.rates = Rates(lambda: config().gateway.limits, clock)
        self.speaking = Speaking(agents=agents, heard=engine.agents_for, rates=self.rates)
        self.push = Push(store=store, publish=bus.publish, config=config, clock=clock, randomness=randomness, ids=ids)
        self.hub = ConversationHub(
            doors=Doors(
                router=router,
                agents=agents,
                publishing=self.publishing,
                sends=self.sends,
                triggering=Triggering(router=router, rates=self.rates, clock=clock),
                controlling=Controlling(router=router, rates=self.rates),
                speaking=self.speaking,
                push=self.push,
                bus=bus,
                oldest=lambda: bus.oldest,
                settings=lambda: config().gateway,
                clock=clock,
                refused=refused,
            ),
            directory=self.directory,
            store=store,
            clock=clock,
            randomness=randomness,
            ids=ids,
            end_of_log=lambda: bus.end,
        )

    def end_lost(self, lost: LostProof) -> None:
        """End what was opened with these tokens."""
        self.hub.end_lost(lost)
        self.push.end_lost(lost)
