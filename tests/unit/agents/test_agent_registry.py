"""Agents over reloads: what is built, what is kept, what is closed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from gatewayd.agents.base import AgentFailed, TextOutput, Turn
from gatewayd.agents.factory import AgentFactory
from gatewayd.agents.python import PythonAgents
from gatewayd.agents.registry import AgentRegistry
from gatewayd.agents.tools.builtin import current_time
from gatewayd.agents.tools.registry import ToolRegistry
from gatewayd.config.model import AgentSection, GatewayConfig, ProviderSection
from gatewayd.core.clock import Clock
from gatewayd.core.errors import AgentNotFound, ConfigInvalid, Unavailable
from gatewayd.core.secret import Secret
from gatewayd.providers.base import Delta, Finished, FinishReason, ModelUnavailable, Prompt, Text
from gatewayd.providers.breaker import Breakers
from gatewayd.providers.offline import OfflineProvider
from gatewayd.providers.pool import ProviderPool
from gatewayd.testing.fakes import EvenRandomness, FakeClock, FakeContext, collect


class Network:
    """Stands for LiteLLM: says how it was reached."""

    made: list["Network"]

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.made.append(self)
        self.loaded = self.closed = 0
        self.refuses_to_load = False

    async def load(self) -> None:
        self.loaded += 1

    async def stream(self, prompt: Prompt) -> AsyncIterator[Delta]:
        if self.closed:
            raise AssertionError("used after it was closed")
        if "down" in prompt.model:
            raise ModelUnavailable("down")
        key = prompt.api_key.reveal() if prompt.api_key else "-"
        yield Text(f"{prompt.model} at {prompt.base_url or '-'} with {key}")
        await self.clock.sleep(10)
        yield Finished(FinishReason.STOP)

    async def close(self) -> None:
        self.closed += 1


class Rig:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.network: list[Network] = []
        plugins = {
            "litellm": lambda: type("Made", (Network,), {"made": self.network}),
            "offline": lambda: OfflineProvider,
        }
        factory = AgentFactory(
            providers=ProviderPool(plugins, self.clock),
            tools=ToolRegistry({"current_time": lambda: current_time, "broken": lambda: print}),
            python=PythonAgents({}),
            breakers=Breakers(self.clock),
            clock=self.clock,
            randomness=EvenRandomness(),
        )
        self.registry = AgentRegistry(factory)

    async def apply(self, config: GatewayConfig, unavailable: dict[str, str] | None = None) -> None:
        change = self.registry.plan(None, config, unavailable or {})
        await change.prepare()
        change.commit()
        await change.retire()

    async def ask(self, name: str, text: str = "hi") -> str:
        run = self.registry.get(name).run(Turn(text, "s", "p"), FakeContext(self.clock))
        outputs = await self.clock.run(collect(run))
        return "".join(output.content for output in outputs if isinstance(output, TextOutput))


def config(provider: ProviderSection | None = None, **agents: AgentSection) -> GatewayConfig:
    return GatewayConfig(agents=agents, provider=provider or ProviderSection())


ECHO = AgentSection(model="offline/echo")
FAR = AgentSection(model="openai/far")


async def test_it_is_empty_until_a_change_is_committed() -> None:
    rig = Rig()
    change = rig.registry.plan(None, config(a=ECHO))
    await change.prepare()
    assert list(rig.registry.names()) == []
    change.commit()
    assert list(rig.registry.names()) == ["a"]
    with pytest.raises(AgentNotFound):
        rig.registry.get("b")


async def test_an_agent_answers_and_tells_its_limits() -> None:
    rig = Rig()
    await rig.apply(config(a=AgentSection(model="offline/echo", timeout=7, greeting="Hello.")))
    assert await rig.ask("a", "one two") == "one two"
    assert (rig.registry.get("a").timeout, rig.registry.get("a").greeting) == (7, "Hello.")


async def test_the_network_is_loaded_only_if_a_model_needs_it_and_before_commit() -> None:
    rig = Rig()
    await rig.apply(config(a=ECHO))
    assert rig.network == []
    change = rig.registry.plan(None, config(a=ECHO, b=FAR))
    await change.prepare()
    assert rig.network[0].loaded == 1


async def test_unchanged_agents_stay_the_same_objects() -> None:
    rig = Rig()
    await rig.apply(config(a=ECHO, b=ECHO))
    a, b = rig.registry.get("a"), rig.registry.get("b")
    await rig.apply(config(a=ECHO, b=AgentSection(model="offline/count"), c=ECHO))
    assert rig.registry.get("a") is a
    assert rig.registry.get("b") is not b
    await rig.apply(config(provider=ProviderSection(timeout=5), a=ECHO))
    assert rig.registry.get("a") is not a, "a default that it takes has changed"


async def test_an_abandoned_change_leaves_no_trace() -> None:
    rig = Rig()
    await rig.apply(config(a=ECHO))
    a = rig.registry.get("a")
    change = rig.registry.plan(None, config(b=FAR))
    await change.prepare()
    await change.abandon()
    assert rig.registry.get("a") is a
    assert rig.network[0].closed == 1
    await rig.registry.plan(None, config(b=FAR)).abandon()


async def test_a_running_turn_finishes_on_what_it_began_with() -> None:
    rig = Rig()
    await rig.apply(config(a=FAR))
    turn = asyncio.ensure_future(collect(rig.registry.get("a").run(Turn("hi", "s", "p"), FakeContext(rig.clock))))
    await rig.clock.advance(1)
    await rig.apply(config(a=ECHO))
    assert rig.network[0].closed == 0
    assert await rig.ask("a") == "hi"
    await rig.clock.advance(10)
    assert await turn
    assert rig.network[0].closed == 1


async def test_a_provider_that_is_needed_again_before_it_left_stays() -> None:
    rig = Rig()
    await rig.apply(config(a=FAR))
    turn = asyncio.ensure_future(collect(rig.registry.get("a").run(Turn("hi", "s", "p"), FakeContext(rig.clock))))
    await rig.clock.advance(1)
    await rig.apply(config(a=ECHO))
    await rig.apply(config(a=FAR))
    await rig.clock.advance(10)
    await turn
    assert [network.closed for network in rig.network] == [0]
    assert await rig.ask("a") == "openai/far at - with -"
    await rig.apply(config(a=ECHO))
    await rig.apply(config(a=FAR))
    assert [network.closed for network in rig.network] == [1, 0], "one that has closed is not used again"


async def test_closing_the_registry_closes_its_providers() -> None:
    rig = Rig()
    await rig.apply(config(a=FAR))
    await rig.registry.close()
    await rig.registry.close()
    assert rig.network[0].closed == 1


async def test_an_agent_without_its_secret_is_kept_with_the_reason() -> None:
    rig = Rig()
    await rig.apply(config(a=AgentSection(), b=ECHO), {"agents.a": "variable KEY is not set", "channels.b": "x"})
    with pytest.raises(Unavailable, match="KEY is not set"):
        rig.registry.get("a")
    assert [(info.name, bool(info.unavailable)) for info in rig.registry.describe()] == [("a", True), ("b", False)]
    assert rig.registry.describe()[1].tools == ("current_time",)
    await rig.apply(config(a=ECHO, b=ECHO))
    assert await rig.ask("a") == "hi"


async def test_what_models_and_tools_cannot_give_is_told_with_its_place() -> None:
    rig = Rig()
    bad = config(
        a=AgentSection(model="offline/eco"),
        b=AgentSection(model="offline/echo", fallback_models=("openai/x", "offline/x")),
        c=AgentSection(model="offline/echo", tools=("current_time", "rm", "broken")),
        d=AgentSection(),
    )
    places = [problem.field for problem in rig.registry.problems(bad)]
    assert places == [
        "agents.a.model",
        "agents.b.fallback_models[1]",
        "agents.c.tools[1]",
        "agents.c.tools[2]",
        "agents.d.model",
    ]
    with pytest.raises(ConfigInvalid):
        await rig.registry.plan(None, bad).prepare()


async def test_defaults_come_from_the_provider_section() -> None:
    rig = Rig()
    shared = ProviderSection(model="openai/shared", base_url="http://all", api_key=Secret("k"))
    await rig.apply(config(shared, a=AgentSection(), b=AgentSection(model="openai/own", base_url="http://own")))
    assert await rig.ask("a") == "openai/shared at http://all with k"
    assert await rig.ask("b") == "openai/own at http://own with k"
    assert rig.registry.describe()[0].models == ("openai/shared",)


async def test_the_key_of_one_vendor_is_not_given_to_another() -> None:
    rig = Rig()
    section = AgentSection(
        model="openai/down", fallback_models=("openai/down2", "other/up"), base_url="http://own", api_key=Secret("k")
    )
    await rig.apply(config(ProviderSection(retries=0), a=section))
    assert await rig.ask("a") == "other/up at - with -"
    assert [(stats.model, stats.base_url) for stats in rig.registry.model_stats()] == [
        ("openai/down", "http://own"),
        ("openai/down2", "http://own"),
        ("other/up", ""),
    ]


async def test_breakers_outlive_a_reload_and_those_of_agents_that_left_do_not() -> None:
    rig = Rig()
    sections = {"a": AgentSection(model="openai/down"), "b": ECHO}
    await rig.apply(config(ProviderSection(retries=0), **sections))
    for name in ("a", "b"):
        with suppress(AgentFailed):
            await rig.ask(name)
    await rig.apply(config(ProviderSection(retries=0), a=AgentSection(model="openai/down", timeout=9)))
    assert [(stats.model, stats.failures) for stats in rig.registry.model_stats()] == [("openai/down", 1)]


async def test_tools_that_were_refused_are_counted() -> None:
    rig = Rig()
    await rig.apply(config(a=AgentSection(model="offline/assistant", tools=())))
    assert "could not use" in await rig.ask("a", "call current_time")
    assert rig.registry.tool_stats() == {"a": {"calls": 1, "refused": 1, "failed": 0}}
